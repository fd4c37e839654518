package clientauth

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// slots is how many stored secrets every attempt is compared with, whether the
// account has that many, has fewer, or does not exist: what an account has must
// not be read from how long a refusal takes. An account with more than this is
// compared with all of them.
const slots = 16

// clientSecret authenticates by client_id and client_secret.
//
// An unknown client and a wrong secret take one path: one MAC, a look-up, a
// comparison with all slots, a second look-up past the cache (which the store
// bounds), the comparison again. The second look-up lets a client use at once
// what another node has just created.
func (a *Authenticator) clientSecret(ctx context.Context, p *Presented, now time.Time) (Client, error) {
	mac := a.compared(p)

	principal, secret, err := a.find(ctx, a.store.Principal, p.ClientID, &mac)
	if err == nil && secret == nil {
		principal, secret, err = a.find(ctx, a.store.RefreshPrincipal, p.ClientID, &mac)
	}
	switch {
	case err != nil:
		return Client{}, err
	case principal == nil:
		return Client{}, refuse(Failure{Reason: ReasonUnknownClient})
	case secret == nil && !p.proper():
		return Client{}, refuse(Failure{Reason: ReasonMalformedSecret, AccountID: principal.Account.ID})
	case secret == nil:
		return Client{}, refuse(Failure{Reason: ReasonWrongSecret, AccountID: principal.Account.ID})
	}
	if !secret.Live(now) {
		return Client{}, refuse(Failure{ReasonCredentialExpired, principal.Account.ID, secret.ID})
	}
	a.store.Touch(principal, secret.ID, now)
	return Client{Principal: principal, CredentialID: secret.ID, Method: p.Method}, nil
}

// WithoutSecret is the same as what is presented, to be presented again: it has
// what the secret is compared as, and not the secret. It is for what has proved a
// client once.
func (a *Authenticator) WithoutSecret(p Presented) Presented {
	mac := a.keys.SecretMAC(p.Secret.Reveal())
	p.Secret, p.mac = identity.Secret{}, &mac
	return p
}

// compared is what the secret is compared as.
func (a *Authenticator) compared(p *Presented) [32]byte {
	if p.mac != nil {
		return *p.mac
	}
	return a.keys.SecretMAC(p.Secret.Reveal())
}

// proper reports whether the secret looks like one of ours.
func (p *Presented) proper() bool {
	return p.mac != nil || identity.CheckClientSecret(p.Secret.Reveal()) == nil
}

// find looks the client up and compares the MAC with all its secrets. Both
// results are nil for an unknown client, the second alone for a wrong secret.
// A text that cannot be an id is not looked up: that it cannot be one is known
// to the caller already.
func (a *Authenticator) find(
	ctx context.Context, lookUp func(context.Context, string) (*store.Principal, error), clientID string, mac *[32]byte,
) (*store.Principal, *identity.ClientSecret, error) {
	principal, err := lookUpKnown(ctx, lookUp, clientID)
	if err != nil {
		return nil, nil, err
	}
	var secrets []identity.ClientSecret
	if principal != nil {
		secrets = principal.Secrets
	}
	if i := match(len(secrets), func(i int) *[32]byte { return &secrets[i].MAC }, mac); i >= 0 {
		return principal, &secrets[i], nil
	}
	return principal, nil, nil
}

// lookUpKnown gives nil for what is not there, or cannot be.
func lookUpKnown(
	ctx context.Context, lookUp func(context.Context, string) (*store.Principal, error), clientID string,
) (*store.Principal, error) {
	if identity.ParseID(identity.PrefixServiceAccount, clientID) != nil {
		return nil, nil
	}
	p, err := lookUp(ctx, clientID)
	if fault.Is(err, fault.CodeNotFound) {
		return nil, nil
	}
	return p, err
}

// match gives the index of the stored one of n with that MAC, or -1. It compares
// in constant time, never stops early and fills up with a MAC that nothing has.
func match(n int, stored func(i int) *[32]byte, mac *[32]byte) int {
	var nobody [32]byte
	found := -1
	for i := range max(slots, n) {
		one := &nobody
		if i < n {
			one = stored(i)
		}
		found = subtle.ConstantTimeSelect(same(one, mac), i, found)
	}
	if found >= n {
		return -1
	}
	return found
}

// same is 1 for two MACs that are the same, else 0. It takes eight bytes at a
// time, as [subtle.ConstantTimeCompare] does not, and is asked for each slot.
func same(a, b *[32]byte) int {
	var differs uint64
	for i := 0; i < len(a); i += 8 {
		differs |= binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:])
	}
	return subtle.ConstantTimeEq(int32(uint32(differs)|uint32(differs>>32)), 0)
}
