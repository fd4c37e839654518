package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// record commits events of which each is a millisecond younger than the one before.
func record(t testing.TB, s *store.Store, from time.Time, n int) (ids []string) {
	t.Helper()
	for len(ids) < n {
		var batch []*store.Issuance
		for range min(256, n-len(ids)) {
			e := issued()
			e.At = from.Add(time.Duration(len(ids)) * time.Millisecond)
			e.RequestID = identity.NewID(identity.PrefixRequest, e.At)
			ids = append(ids, e.RequestID)
			batch = append(batch, &store.Issuance{Event: e})
		}
		if err := s.CommitBatch(t.Context(), batch, make([]error, len(batch))); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func TestEventOfARequestIsFoundByItsTime(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t)
		s := testkit.Open(t, url, clk)
		ids := record(t, s, clk.Now(), 1000)
		clk.Advance(time.Hour)
		ids = append(ids, record(t, s, clk.Now(), 300)...)
		find := func(s *store.Store, id string) (l *audit.Link, err error) {
			err = s.View(t.Context(), func(r *store.Reader) (err error) {
				l, err = r.EventOfRequest(t.Context(), id, identity.MadeAt(id))
				return err
			})
			return l, err
		}
		for _, n := range []int{0, 1, 499, 998, 999, 1000, 1299} {
			l, err := find(s, ids[n])
			if err != nil || l.Event.RequestID != ids[n] || l.Seq != int64(n+2) || l.Chain != s.AuditChain() {
				t.Errorf("event %d: %+v, %v", n, l, err)
			}
		}
		for _, at := range []time.Duration{-48 * time.Hour, -time.Hour, 0, 50 * time.Millisecond, 48 * time.Hour} {
			_, err := find(s, identity.NewID(identity.PrefixRequest, clk.Now().Add(at)))
			wantCode(t, err, fault.CodeNotFound)
		}
		// Another process run finds it in the chain of this one.
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := testkit.Open(t, url, clk)
		if l, err := find(again, ids[700]); err != nil || l.Seq != 702 || l.Chain == again.AuditChain() {
			t.Errorf("after a start: %+v, %v", l, err)
		}
	})
}

// However full a second was, a bounded part of it is read; what stood in the
// queue for a while is still found.
func TestEventIsFoundInAFullSecond(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t)
		s := testkit.Open(t, url, clk)
		wanted := identity.NewID(identity.PrefixRequest, clk.Now().Add(time.Second))
		record(t, s, clk.Now(), 6000)
		e := issued()
		e.At, e.RequestID = clk.Now().Add(time.Second), wanted // five seconds behind its place
		if err := s.CommitBatch(t.Context(), []*store.Issuance{{Event: e}}, make([]error, 1)); err != nil {
			t.Fatal(err)
		}
		record(t, s, clk.Now().Add(6*time.Second), 6000)
		if err := s.View(t.Context(), func(r *store.Reader) error {
			l, err := r.EventOfRequest(t.Context(), wanted, identity.MadeAt(wanted))
			if err == nil && l.Event.RequestID != wanted {
				t.Errorf("found %+v", l.Event)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

func TestEventOfAnAccountIsFoundAtItsMoment(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a, other := newAccount(t, s, "disabled"), newAccount(t, s, "other")
		for _, id := range []string{other.ID, a.ID} {
			testkit.Change(t, s, audit.RoleCreated, func(_ context.Context, tx *store.Tx) error {
				e := event(audit.AccountDisabled)
				e.AccountID = id
				tx.Audit(e)
				return nil
			})
		}
		view(t, s, func(r *store.Reader) error {
			l, err := r.EventOfAccount(t.Context(), audit.AccountDisabled, a.ID, testkit.Start())
			if err == nil && (l.Event.AccountID != a.ID || l.Event.Type != audit.AccountDisabled) {
				t.Errorf("%+v", l.Event)
			}
			return err
		})
		err := s.View(t.Context(), func(r *store.Reader) error {
			_, err := r.EventOfAccount(t.Context(), audit.AccountDisabled, a.ID, testkit.Start().Add(time.Microsecond))
			return err
		})
		wantCode(t, err, fault.CodeNotFound)
	})
}
