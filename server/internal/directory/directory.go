// Package directory holds the use cases of the management API: service
// accounts and their client secrets, resource servers, roles and assignments,
// signing keys, and the reading of the audit log.
//
// Whether a caller may call an operation at all (a permission in its token) is
// settled before a request comes here. What depends on the data is settled
// here, in the transaction that makes the change:
//
//   - Nobody hands out, or makes reachable, rights that it does not hold itself
//     ([fault.CodeGrantExceedsCaller]); rights.go says what that covers.
//   - Nobody touches its own role assignments ([fault.CodeOwnRights]).
//   - What is built in does not change ([fault.CodeBuiltIn]).
//   - The last administrator stays ([fault.CodeLastAdministrator]).
//
// Every change is one transaction with exactly one audit event in it, or with
// one for each thing that it changes: a deletion that cascades, a permission that
// is renamed in many roles. A request that changes nothing writes nothing and
// records nothing. What would make a second thing when it is sent a second time
// goes through [once]. A secret leaves this package only in a return value, once.
package directory

import (
	"context"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// Service carries out the use cases. It may be used by many goroutines.
type Service struct {
	store *store.Store
	keys  *keyring.Keyring
	clock clock.Clock

	cascade  int           // see maxCascade
	rotating chan struct{} // see RotateSigningKey
	running  running
}

// New makes the service. The keyring must have its pepper (keyring.Bootstrap)
// before a client secret or an API key is made.
func New(st *store.Store, keys *keyring.Keyring, clk clock.Clock) *Service {
	return &Service{
		store: st, keys: keys, clock: clk, cascade: maxCascade,
		rotating: make(chan struct{}, 1), running: running{keys: map[heldKey]bool{}},
	}
}

// Meta is what comes with a request beside its meaning.
type Meta = token.Meta

// change runs fn in one write transaction on behalf of the caller.
//
// The bearer check before it answered from memory that may be a second old.
// Write transactions run one after another, so that looking again here makes
// it exact: once an account is disabled, its tokens revoked or its credential
// deleted, nothing more is changed in its name.
func (s *Service) change(ctx context.Context, caller *token.Caller, fn func(tx *store.Tx) error) error {
	return s.store.InTx(ctx, func(tx *store.Tx) error {
		if err := stillStands(ctx, tx, caller); err != nil {
			return err
		}
		return fn(tx)
	})
}

func stillStands(ctx context.Context, tx *store.Tx, caller *token.Caller) error {
	a, err := tx.ServiceAccount(ctx, caller.ClientID)
	if fault.Is(err, fault.CodeNotFound) {
		return fault.InvalidToken()
	}
	if err != nil {
		return err
	}
	if !a.Live(tx.Now) || a.Gen != caller.Principal.Account.Gen {
		return fault.InvalidToken()
	}
	credential, err := tx.Credential(ctx, caller.ClientID, caller.CredentialID)
	if fault.Is(err, fault.CodeNotFound) {
		return fault.InvalidToken()
	}
	if err != nil {
		return err
	}
	if !credential.Live(tx.Now) || !a.AllowsCredential(credential.Kind) {
		return fault.InvalidToken()
	}
	return nil
}

// event starts the audit event of a change.
func event(caller *token.Caller, meta Meta, typ audit.Type) audit.Event {
	return audit.Event{
		Type:         typ,
		Outcome:      audit.Success,
		Actor:        caller.ClientID,
		CredentialID: caller.CredentialID,
		TokenID:      caller.TokenID,
		Address:      meta.Address,
		RequestID:    meta.RequestID,
		TraceID:      meta.TraceID,
	}
}

// AnyVersion is an If-Match that asks only that something is there. No version
// has this number.
const AnyVersion int64 = -2

// described takes what the event of another package says, for one that has a
// caller.
func described(e audit.Event) (audit.Type, string, map[string]string) {
	return e.Type, e.Subject, e.Details
}

// matches holds an If-Match against the version that is there.
func matches(ifMatch *int64, version int64) error {
	if ifMatch != nil && *ifMatch != AnyVersion && *ifMatch != version {
		return fault.Precondition()
	}
	return nil
}

func builtIn(what string) error {
	return fault.New(fault.KindDenied, fault.CodeBuiltIn, "this %s is built in and cannot be changed", what)
}

// instant is a time as the store keeps it, so that what a creation answers is
// what a later read answers.
func instant(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// written is a time in audit details; a zero time is "never".
func written(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// readAccount reads a living account by an id that is still untrusted text.
func readAccount(ctx context.Context, r *store.Reader, id string) (*identity.ServiceAccount, error) {
	if err := identity.ParseID(identity.PrefixServiceAccount, id); err != nil {
		return nil, err
	}
	return r.ServiceAccount(ctx, id)
}
