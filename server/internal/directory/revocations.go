package directory

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// Stop says what to revoke: exactly one of Token, TokenID, AccountID (alone),
// CredentialID and SigningKeyID.
type Stop struct {
	Token        *token.Claims // read from its text
	TokenID      string
	AccountID    string // beside TokenID: whose it is
	CredentialID string
	SigningKeyID string
	Reason       string
	DryRun       bool // only tell what would stop
}

// firstStopped is how many of what stops are named.
const firstStopped = 20

// Stopped tells what a revocation stops.
type Stopped struct {
	Applied     bool // something was changed
	Entries     []identity.Revocation
	Accounts    []StoppedAccount // the first of them that are known
	Credentials []identity.Credential
	// How many there are; negative where that cannot be known.
	AccountCount, CredentialCount int
}

// StoppedAccount is an account whose tokens die.
type StoppedAccount struct{ ID, Name string }

var errDryRun = errors.New("directory: nothing is to be changed")

// Revoke stops a token, what was issued to an account so far, a credential with
// all that was issued for it, or a signing key with all that it signed, which
// needs the permission to revoke keys beside. A dry run does the same and leaves nothing of
// it, so that it is refused where the revocation would be.
//
// Whoever may revoke may revoke anybody's, its own included: a stop must not wait
// for somebody with more rights. Only the last administrator's last credential
// stays, as everywhere.
func (s *Service) Revoke(ctx context.Context, caller *token.Caller, meta Meta, in Stop) (*Stopped, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	var next *store.SigningKey
	if in.SigningKeyID != "" {
		if !caller.Has(identity.PermSigningKeysRevoke) {
			return nil, fault.InsufficientScope(identity.PermSigningKeysRevoke)
		}
		var err error
		if next, err = s.successor(ctx, in.SigningKeyID); err != nil {
			return nil, err
		}
	}
	var out *Stopped
	err := s.change(ctx, caller, func(tx *store.Tx) (err error) {
		out = &Stopped{AccountCount: -1, CredentialCount: -1}
		r := revoking{tx, &in, out, event(caller, meta, "")}
		switch {
		case in.Token != nil:
			err = r.token(ctx, in.Token.TokenID, in.Token.ClientID, in.Token.CredentialID, in.Token.Audience, in.Token.Expires())
		case in.TokenID != "":
			// Its own end is not known here. It cannot be later.
			last := identity.MadeAt(in.TokenID).Add(identity.RevocationLife)
			err = r.token(ctx, in.TokenID, in.AccountID, "", "", last)
		case in.CredentialID != "":
			err = r.credential(ctx)
		case in.SigningKeyID != "":
			err = r.signingKey(ctx, s, next)
		default:
			err = r.account(ctx)
		}
		if err == nil && in.DryRun {
			out.Applied = false
			return errDryRun
		}
		return err
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return nil, err
	}
	return out, nil
}

func (in *Stop) check() error {
	var f identity.Findings
	given := 0
	for _, id := range []string{in.TokenID, in.CredentialID, in.SigningKeyID} {
		if id != "" {
			given++
		}
	}
	if in.Token != nil {
		given++
	}
	if in.AccountID != "" && in.TokenID == "" {
		given++
	}
	if given != 1 {
		f.Add("", "must name exactly one of token, token_id, service_account, credential and signing_key; service_account also beside token_id")
	}
	if in.TokenID != "" {
		f.ID("/token_id", identity.PrefixToken, in.TokenID)
	}
	if in.AccountID != "" {
		f.ID("/service_account", identity.PrefixServiceAccount, in.AccountID)
	}
	if in.CredentialID != "" && identity.ParseCredentialID(in.CredentialID) != nil {
		f.Add("/credential", "is not the id of a credential")
	}
	f.Text("/signing_key", in.SigningKeyID, maxKidLength)
	f.Text("/reason", in.Reason, identity.MaxReasonLength)
	return f.Err()
}

// revoking is one revocation on its way.
type revoking struct {
	tx    *store.Tx
	in    *Stop
	out   *Stopped
	event audit.Event
}

// record puts the revocation into the audit log. Row and event commit together.
func (r *revoking) record(typ audit.Type, accountID, subject string, details map[string]string) {
	r.event.Type, r.event.AccountID, r.event.Subject, r.event.Details = typ, accountID, subject, details
	if r.in.Reason != "" {
		r.event.Details["reason"] = r.in.Reason
	}
	r.tx.Audit(r.event)
	r.out.Applied = true
}

// token revokes one token. One that has expired needs no revocation, and one that
// was revoked before is answered as it was.
func (r *revoking) token(ctx context.Context, id, accountID, credentialID, audience string, expiresAt time.Time) error {
	if err := r.known(ctx, accountID, credentialID); err != nil {
		return err
	}
	if !r.tx.Now.Before(expiresAt) {
		return nil
	}
	revoked, err := r.tx.RevokeToken(ctx, id, accountID, audience, expiresAt)
	if err != nil {
		return err
	}
	if revoked {
		r.event.Audience = audience
		r.record(audit.TokenRevoked, accountID, id, map[string]string{})
	}
	found, err := r.tx.TokenRevocation(ctx, id)
	if err != nil {
		return err
	}
	r.out.Entries = []identity.Revocation{found.Revocation()}
	return nil
}

// known tells of account and credential of a token, as far as they are known.
func (r *revoking) known(ctx context.Context, accountID, credentialID string) error {
	if accountID != "" {
		a, err := r.tx.ServiceAccount(ctx, accountID)
		switch {
		case err == nil:
			r.stops(a)
		case r.in.Token == nil || !fault.Is(err, fault.CodeNotFound):
			return err
		default: // the token of an account that was deleted: dead already
			r.out.AccountCount = 0
		}
	}
	if credentialID != "" {
		c, err := r.tx.AnyCredential(ctx, credentialID)
		switch {
		case err == nil:
			r.out.Credentials, r.out.CredentialCount = []identity.Credential{*c}, 1
		case !fault.Is(err, fault.CodeNotFound):
			return err
		default:
			r.out.CredentialCount = 0
		}
	}
	return nil
}

func (r *revoking) stops(a *identity.ServiceAccount) {
	r.out.Accounts, r.out.AccountCount = []StoppedAccount{{a.ID, a.Name}}, 1
}

// account revokes everything that was issued to an account so far.
func (r *revoking) account(ctx context.Context) error {
	a, err := readAccount(ctx, r.tx.Reader, r.in.AccountID)
	if err != nil {
		return err
	}
	r.stops(a)
	r.out.Credentials, r.out.CredentialCount, err = r.tx.LiveCredentials(ctx, a.ID, r.tx.Now, firstStopped)
	if err != nil {
		return err
	}
	gen, err := r.tx.BumpGeneration(ctx, a.ID)
	if err != nil {
		return err
	}
	r.record(audit.AccountTokensRevoked, a.ID, a.ID, map[string]string{"gen": strconv.FormatInt(gen, 10)})
	return r.entry(ctx, identity.RevokedServiceAccount, a.ID)
}

// credential ends a credential for good: a new token for it would be as dead as
// the old ones.
func (r *revoking) credential(ctx context.Context) error {
	c, err := r.tx.AnyCredential(ctx, r.in.CredentialID)
	if fault.Is(err, fault.CodeNotFound) {
		// Who asks again after a lost answer is told the same.
		r.out.AccountCount, r.out.CredentialCount = 0, 0
		if again := r.entry(ctx, identity.RevokedCredential, r.in.CredentialID); !fault.Is(again, fault.CodeNotFound) {
			return again
		}
		return err
	}
	if err != nil {
		return err
	}
	a, err := r.tx.ServiceAccount(ctx, c.ServiceAccountID)
	if err != nil {
		return err
	}
	r.stops(a)
	r.out.Credentials, r.out.CredentialCount = []identity.Credential{*c}, 1
	err = keepAdministrator(ctx, r.tx, a.ID, func() error { return r.tx.RevokeCredential(ctx, c) })
	if err != nil {
		return err
	}
	r.record(audit.CredentialRevoked, a.ID, c.ID, map[string]string{"kind": string(c.Kind)})
	return r.entry(ctx, identity.RevokedCredential, c.ID)
}

// signingKey ends a signing key. Whose tokens it signed stands in no row.
func (r *revoking) signingKey(ctx context.Context, s *Service, next *store.SigningKey) error {
	key, revoked, err := s.revokeSigningKey(ctx, r.tx, r.in.SigningKeyID, next)
	if err != nil {
		return err
	}
	if revoked != nil {
		r.record(revoked.Type, "", revoked.Subject, revoked.Details)
	}
	// Of a key that was revoked long ago nobody needs to know any more.
	err = r.entry(ctx, identity.RevokedSigningKey, key.ID)
	if fault.Is(err, fault.CodeNotFound) {
		return nil
	}
	return err
}

func (r *revoking) entry(ctx context.Context, kind identity.RevocationKind, id string) error {
	found, err := r.tx.Revocation(ctx, kind, id)
	if err != nil {
		return err
	}
	r.out.Entries = []identity.Revocation{*found}
	return nil
}

// KnownAudience refuses an identifier that no resource server has: a verifier
// that follows an audience with a typing error in it would never hear of a token.
// None at all is fine.
func (s *Service) KnownAudience(ctx context.Context, identifier string) error {
	if identifier == "" {
		return nil
	}
	_, err := s.store.ResourceServerByAudience(ctx, identifier)
	return err
}
