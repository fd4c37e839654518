package store_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// event is what a test records when it does not matter what.
func event(t audit.Type) audit.Event {
	return audit.Event{Type: t, Outcome: audit.Success, Actor: audit.ActorSystem}
}

// issued is an event of the usual size.
func issued() audit.Event {
	now := testkit.Start()
	return audit.Event{
		Type: audit.TokenIssued, Outcome: audit.Success,
		Actor: identity.NewID(identity.PrefixServiceAccount, now), AccountID: identity.NewID(identity.PrefixServiceAccount, now),
		CredentialID: identity.NewID(identity.PrefixClientSecret, now), Audience: "https://api.example.com/invoices",
		Scope: "invoices:read invoices:write", TokenID: identity.NewID(identity.PrefixToken, now),
		Address: netip.MustParseAddr("192.0.2.17"), RequestID: identity.NewID(identity.PrefixRequest, now),
	}
}

func account(name string) *identity.ServiceAccount {
	return &identity.ServiceAccount{
		ID: identity.NewID(identity.PrefixServiceAccount, clock.System().Now()), Name: name, DisplayName: "The " + name,
		Kind: identity.KindAgent, Owner: "team@example.com", Status: identity.StatusActive,
	}
}

// write runs fn in a transaction with one event.
func write(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := tryWrite(t, s, fn); err != nil {
		t.Fatal(err)
	}
}

func tryWrite(t testing.TB, s *store.Store, fn func(tx *store.Tx) error) error {
	t.Helper()
	return s.InTx(t.Context(), func(tx *store.Tx) error {
		tx.Audit(event(audit.AccountUpdated))
		return fn(tx)
	})
}

func newAccount(t testing.TB, s *store.Store, name string) *identity.ServiceAccount {
	t.Helper()
	a := account(name)
	write(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) })
	return a
}

func newSecret(t testing.TB, s *store.Store, accountID string) *identity.ClientSecret {
	t.Helper()
	c := &identity.ClientSecret{ID: identity.NewID(identity.PrefixClientSecret, clock.System().Now()), ServiceAccountID: accountID, Hint: "abcd"}
	c.MAC[0] = 7
	write(t, s, func(tx *store.Tx) error { return tx.InsertClientSecret(t.Context(), c) })
	return c
}

// newAPI makes a resource server with permissions and a role that grants them.
func newAPI(t testing.TB, s *store.Store, name string, permissions ...string) (*identity.ResourceServer, *identity.Role) {
	t.Helper()
	now := clock.System().Now()
	rs := &identity.ResourceServer{
		ID: identity.NewID(identity.PrefixResourceServer, now), Identifier: "https://" + name + ".example.com", Name: name, SigningAlg: "ES256",
	}
	role := &identity.Role{ID: identity.NewID(identity.PrefixRole, now), Name: name + "-user"}
	for _, p := range permissions {
		rs.Permissions = append(rs.Permissions, identity.Permission{Name: p, Description: "May " + p})
		role.Permissions = append(role.Permissions, identity.RolePermission{ResourceServerID: rs.ID, Permission: p})
	}
	write(t, s, func(tx *store.Tx) error {
		if err := tx.InsertResourceServer(t.Context(), rs); err != nil {
			return err
		}
		return tx.InsertRole(t.Context(), role)
	})
	return rs, role
}

func assign(t testing.TB, s *store.Store, accountID, roleID string, until time.Time) {
	t.Helper()
	write(t, s, func(tx *store.Tx) error {
		_, err := tx.Assign(t.Context(), &identity.Assignment{ServiceAccountID: accountID, RoleID: roleID, ExpiresAt: until})
		return err
	})
}

func principal(t testing.TB, s *store.Store, id string) *store.Principal {
	t.Helper()
	p, err := s.Principal(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if !fault.Is(err, code) {
		t.Fatalf("error is %v, want a fault with code %s", err, code)
	}
}

func check(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// eventually waits, in real time, for what another node does.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	system := clock.System()
	deadline := system.Now().Add(within)
	for !ok() {
		if system.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		<-system.After(2 * time.Millisecond)
	}
}

// newQuietNode is a second node whose writes nobody is told of.
func newQuietNode(t testing.TB, url string) func(a *identity.ServiceAccount) {
	t.Helper()
	s := testkit.Open(t, url, clock.System())
	return func(a *identity.ServiceAccount) {
		t.Helper()
		if err := s.InsertQuietly(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
}

func wantKind(t testing.TB, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.From(err).Kind != kind {
		t.Fatalf("error is %v, want a fault of kind %d", err, kind)
	}
}
