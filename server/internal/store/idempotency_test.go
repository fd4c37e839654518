package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestFirstAnswersAreKeptWithTheirKeyForADay(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t)
		s := testkit.Open(t, url, clk)
		a, b := newAccount(t, s, "a"), newAccount(t, s, "b")
		key := identity.RequestKey{Operation: "roles.create", Key: strings.Repeat("~", 255), Digest: [32]byte{1, 2, 3}}
		first := &store.FirstAnswer{AccountID: a.ID, Key: key, Subject: "role_1", Result: `{"Name":"ünïcode"}`}
		insert := func(f *store.FirstAnswer) error {
			return tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertFirstAnswer(t.Context(), f) })
		}
		changes := s.Snapshot()
		if err := insert(first); err != nil {
			t.Fatal(err)
		}
		if s.Snapshot() != changes {
			t.Error("other nodes are told, and no cache holds it")
		}
		find := func(accountID string, k identity.RequestKey) (got *store.FirstAnswer, err error) {
			return got, s.View(t.Context(), func(r *store.Reader) (err error) { got, err = r.FirstAnswer(t.Context(), accountID, k); return err })
		}
		got, err := find(a.ID, identity.RequestKey{Operation: key.Operation, Key: key.Key})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, got); diff != "" || !got.CreatedAt.Equal(clk.Now()) {
			t.Error(diff)
		}
		for name, other := range map[string]struct {
			account string
			key     identity.RequestKey
		}{
			"another account":   {b.ID, key},
			"another operation": {a.ID, identity.RequestKey{Operation: "roles.update", Key: key.Key}},
			"another key":       {a.ID, identity.RequestKey{Operation: key.Operation, Key: key.Key[1:]}},
			"no key":            {a.ID, identity.RequestKey{Operation: key.Operation}},
			"no text":           {a.ID, identity.RequestKey{Operation: key.Operation, Key: "\x00"}},
		} {
			if _, err := find(other.account, other.key); !fault.Is(err, fault.CodeNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		wantCode(t, insert(&store.FirstAnswer{AccountID: a.ID, Key: key}), fault.CodeInternal)
		wantCode(t, s.InTx(t.Context(), func(tx *store.Tx) error { // without an event
			return tx.InsertFirstAnswer(t.Context(), &store.FirstAnswer{AccountID: b.ID, Key: key})
		}), fault.CodeInternal)

		cleanUp := func() {
			t.Helper()
			if err := s.Maintain(t.Context(), func(m *store.Maintenance) error { return m.CleanUp(t.Context()) }); err != nil {
				t.Fatal(err)
			}
		}
		clk.Advance(24*time.Hour - time.Microsecond)
		cleanUp()
		if _, err := find(a.ID, key); err != nil {
			t.Errorf("a microsecond too early: %v", err)
		}
		clk.Advance(time.Microsecond)
		cleanUp()
		if _, err := find(a.ID, key); !fault.Is(err, fault.CodeNotFound) {
			t.Errorf("after a day: %v", err)
		}
		check(t, s)
	})
}

func TestAnAnswerIsKeptOnlyWithItsEffect(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "a")
		key := identity.RequestKey{Operation: "o", Key: "k"}
		err := s.InTx(t.Context(), func(tx *store.Tx) error {
			tx.Audit(event(audit.AccountUpdated))
			if err := tx.InsertFirstAnswer(t.Context(), &store.FirstAnswer{AccountID: a.ID, Key: key}); err != nil {
				return err
			}
			return fault.Invalid("what came after it failed")
		})
		wantCode(t, err, fault.CodeInvalidRequest)
		wantCode(t, s.View(t.Context(), func(r *store.Reader) error { _, err := r.FirstAnswer(t.Context(), a.ID, key); return err }), fault.CodeNotFound)
	})
}
