package clientauth

import (
	"context"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// AuthenticateKey proves the client by an API key, which names no client: the
// store knows whose it is. It stands apart from Authenticate, so that a key is
// taken where a key is asked for and nowhere else.
//
// A text that cannot be a key is [fault.MalformedAPIKey], told before anything is
// computed or looked up. Every other refusal is [fault.InvalidAPIKey]. An unknown
// key takes the path of a known one: one MAC, a look-up of its account, a
// comparison with all slots, the account once more past the cache, the
// comparison again.
func (a *Authenticator) AuthenticateKey(ctx context.Context, key identity.Secret, now time.Time) (Client, error) {
	text := key.Reveal()
	if identity.CheckAPIKey(text) != nil {
		return Client{}, fault.MalformedAPIKey().Because(&Failure{Reason: ReasonMalformedAPIKey})
	}
	mac := a.keys.SecretMAC(text)
	owner, err := a.store.KeyOwner(ctx, &mac)
	if err != nil && !fault.Is(err, fault.CodeNotFound) {
		return Client{}, err
	}
	principal, found, err := a.findKey(ctx, a.store.Principal, owner, &mac)
	if err == nil && found == nil {
		principal, found, err = a.findKey(ctx, a.store.RefreshPrincipal, owner, &mac)
	}
	switch {
	case err != nil:
		return Client{}, err
	case principal == nil:
		return Client{}, refuseKey(Failure{Reason: ReasonUnknownAPIKey})
	case found == nil: // deleted since its account was looked up
		return Client{}, refuseKey(Failure{Reason: ReasonUnknownAPIKey, AccountID: principal.Account.ID})
	}
	if !found.Live(now) {
		return Client{}, refuseKey(Failure{ReasonCredentialExpired, principal.Account.ID, found.ID})
	}
	a.store.Touch(principal, found.ID, now)
	return Client{Principal: principal, CredentialID: found.ID, Method: MethodAPIKey}, nil
}

// findKey is find for the keys of an account; without an account there are none.
func (a *Authenticator) findKey(
	ctx context.Context, lookUp func(context.Context, string) (*store.Principal, error), owner string, mac *[32]byte,
) (*store.Principal, *identity.APIKey, error) {
	principal, err := lookUpKnown(ctx, lookUp, owner)
	if err != nil {
		return nil, nil, err
	}
	var keys []identity.APIKey
	if principal != nil {
		keys = principal.APIKeys
	}
	if i := match(len(keys), func(i int) *[32]byte { return &keys[i].MAC }, mac); i >= 0 {
		return principal, &keys[i], nil
	}
	return principal, nil, nil
}

func refuseKey(f Failure) error { return fault.InvalidAPIKey().Because(&f) }
