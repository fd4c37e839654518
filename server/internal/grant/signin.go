package grant

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// The reasons of refusals that an account gets although its client has proved
// itself. The caller is told the same as for a wrong secret: who holds a stolen
// one does not learn that it would do elsewhere or later. The operator reads
// the difference in the audit log.
const (
	reasonDisabled = "account_disabled"
	reasonExpired  = "account_expired"
	reasonNetwork  = "address_not_allowed"
	// reasonKind is a credential of a kind that the account does not allow (any
	// more); reasonCredentialNetwork an address outside the networks of its own.
	reasonKind              = "credential_kind_not_allowed"
	reasonCredentialNetwork = "address_not_allowed_for_credential"
	// reasonThrottled is a try that was not looked at, for want of budget.
	reasonThrottled = "rate_limited"
	// reasonRate is a call of an account that has proved itself and calls too
	// often.
	reasonRate = "rate_exceeded"
)

// gated is the private cause of a refusal by the status gate, or by a rule of what
// a token is for.
type gated struct{ reason string }

// Error makes gated an error.
func (g *gated) Error() string { return "grant: refused by " + g.reason }

// SignIn proves a client at an endpoint other than the token endpoint, through
// the same budgets and the same gate. A refusal is recorded as api.refused.
func (e *Endpoint) SignIn(ctx context.Context, p clientauth.Presented, meta Meta) (token.Caller, error) {
	v := e.visits.Get().(*visit)
	v.request.Presented, v.request.Meta, v.attempt.Request = p, meta, &v.request
	a := &v.attempt
	if err := e.signIn(ctx, a); err != nil {
		return token.Caller{}, e.refused(ctx, audit.APIRefused, a, err) // which may keep it
	}
	caller := token.ClientCaller(a.Client.Principal, &a.credential, a.Now)
	*v = visit{}
	e.visits.Put(v)
	return caller, nil
}

// visit is a sign-in of which nothing is left once the caller is known, so that
// its memory serves the next.
type visit struct {
	attempt Attempt
	request Request
}

// WithoutSecret is what has just signed in, to sign in again by [Endpoint.SignIn],
// which asks everything anew but what the secret is compared as.
func (e *Endpoint) WithoutSecret(p clientauth.Presented) clientauth.Presented {
	return e.auth.WithoutSecret(p)
}

// signIn is the first part of the pipeline: failure budgets, authentication,
// status gate.
func (e *Endpoint) signIn(ctx context.Context, a *Attempt) error {
	p, meta := &a.Request.Presented, &a.Request.Meta
	a.Now = e.clock.Now()
	if a.began = a.Now; e.pace.clock != e.clock {
		a.began = e.pace.clock.Now()
	}
	// The budget goes by the client_id as it came, true or not: one that is
	// tried in vain uses up its own budget at that address and hardly touches
	// the one that all clients there share.
	if err := e.failures.Check(p.ClientID, meta.Address, a.Now); err != nil {
		return err
	}
	client, err := e.authenticate(ctx, a)
	if err != nil {
		if failure := failureOf(err); failure != nil {
			a.account = failure.AccountID
			if guessed(failure.Reason) {
				e.failures.Fail(p.ClientID, meta.Address, a.Now)
			}
		}
		return err
	}
	a.Client, a.account = client, client.Principal.Account.ID
	a.Request.Proved = a.account
	// No charge: nothing was guessed, and an account that is enabled again must
	// not wait for a budget.
	return throughGate(a, meta)
}

func (e *Endpoint) authenticate(ctx context.Context, a *Attempt) (clientauth.Client, error) {
	if a.login {
		return e.auth.AuthenticateKey(ctx, a.Request.Presented.Secret, a.Now)
	}
	return e.auth.Authenticate(ctx, &a.Request.Presented, a.Now)
}

// guessed reports whether a failed sign-in may have been a guess: a request
// without credentials is none, nor is a text that cannot be a key, which was
// compared with nothing.
func guessed(r clientauth.Reason) bool {
	return r != clientauth.ReasonNoCredentials && r != clientauth.ReasonMalformedAPIKey
}

// throughGate also notes the credential, and when it and the account end, which
// is when a token must.
func throughGate(a *Attempt, meta *Meta) error {
	credential, reason := gate(a.Client.Principal, a.Client.CredentialID, meta.Address, a.Now)
	if reason == "" {
		a.credential = credential
		a.NotAfter = token.Earliest(a.Client.Principal.Account.ExpiresAt, a.credential.ExpiresAt)
		return nil
	}
	if a.login {
		return fault.InvalidAPIKey().Because(&gated{reason})
	}
	return fault.InvalidClient().Because(&gated{reason})
}

// gate is what stands between whoever has proved itself and everything else, by
// whatever path it came: it gives the reason of the refusal, or "" with the
// credential that was let in.
func gate(p *store.Principal, credentialID string, from netip.Addr, now time.Time) (credential identity.Credential, reason string) {
	account := &p.Account
	credential, ok := p.Credential(credentialID)
	switch {
	case !ok:
		reason = string(clientauth.ReasonWrongSecret)
	case !credential.Live(now):
		reason = string(clientauth.ReasonCredentialExpired)
	case account.Status != identity.StatusActive:
		reason = reasonDisabled
	case !account.Live(now):
		reason = reasonExpired
	case !account.AllowsCredential(credential.Kind):
		reason = reasonKind
	case !account.AllowsAddress(from):
		reason = reasonNetwork
	case !credential.AllowsAddress(from):
		reason = reasonCredentialNetwork
	}
	return credential, reason
}

// AdmitBearer holds a caller with a bearer token against the same gate: what its
// account may not sign in by, or from where, it may not call us by or from.
func (e *Endpoint) AdmitBearer(caller *token.Caller, from netip.Addr) error {
	if _, reason := gate(caller.Principal, caller.CredentialID, from, e.clock.Now()); reason != "" {
		return fault.InvalidToken().Because(&gated{reason})
	}
	return nil
}

// Gated reports whether err is a refusal by the gate of somebody who has proved
// itself.
func Gated(err error) bool {
	_, ok := errors.AsType[*gated](err)
	return ok
}

func failureOf(err error) *clientauth.Failure {
	f, _ := errors.AsType[*clientauth.Failure](err)
	return f
}
