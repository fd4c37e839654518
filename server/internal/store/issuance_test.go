package store_test

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func issuance(s *store.Store, accountID string) store.Issuance {
	i := store.Issuance{Event: issued(), AccountID: accountID, Snapshot: s.Snapshot()}
	i.Event.AccountID = accountID
	return i
}

func TestRecordedDecisionsAreDurableOnceAnswered(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, clock.System())
		beside, err := store.Open(t.Context(), store.Options{URL: url, Clock: clock.System(), ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = beside.Close(t.Context()) }()
		var group sync.WaitGroup
		for w := range 16 {
			group.Go(func() {
				for n := range 6 {
					i := issuance(s, "sa_"+strconv.Itoa(w)+"_"+strconv.Itoa(n))
					if err := s.Record(t.Context(), i); err != nil {
						t.Error(err)
					}
					if got := events(t, beside, audit.Filter{AccountID: i.AccountID}); len(got) != 1 || got[0].Event.TokenID != i.Event.TokenID {
						t.Errorf("%d events of an answered decision", len(got))
					}
				}
			})
		}
		group.Wait()
		check(t, s)
	})
}

func TestDecisionOnWhatHasChangedIsStale(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		mine, other := newAccount(t, s, "mine"), newAccount(t, s, "other")
		rs, role := newAPI(t, s, "api", "x:read")
		apart, _ := newAPI(t, s, "apart", "y:read")
		for name, c := range map[string]struct {
			change func(tx *store.Tx) error
			stale  bool
		}{
			"own account": {func(tx *store.Tx) error { _, err := tx.BumpGeneration(t.Context(), mine.ID); return err }, true},
			"own secret": {func(tx *store.Tx) error {
				return tx.InsertClientSecret(t.Context(), &identity.ClientSecret{ID: account("").ID, ServiceAccountID: mine.ID})
			}, true},
			"other account": {func(tx *store.Tx) error { _, err := tx.BumpGeneration(t.Context(), other.ID); return err }, false},
			"role":          {func(tx *store.Tx) error { return tx.UpdateRole(t.Context(), role) }, true},
			"audience":      {func(tx *store.Tx) error { return tx.UpdateResourceServer(t.Context(), rs) }, true},
			"other api":     {func(tx *store.Tx) error { return tx.UpdateResourceServer(t.Context(), apart) }, false},
			"other token": {func(tx *store.Tx) error {
				_, err := tx.RevokeToken(t.Context(), identity.NewID(identity.PrefixToken, tx.Now), mine.ID, "", tx.Now.Add(time.Hour))
				return err
			}, false},
			"signing key": {func(tx *store.Tx) error { tx.Changed(store.ChangedSigningKey, "key_1"); return nil }, true},
		} {
			i := issuance(s, mine.ID)
			i.ResourceServerID = rs.ID
			nobody := issuance(s, "")
			write(t, s, c.change)
			if err := s.Record(t.Context(), i); errors.Is(err, store.ErrStale) != c.stale || (err != nil) != c.stale {
				t.Errorf("%s: %v", name, err)
			}
			if err := s.Record(t.Context(), nobody); err != nil {
				t.Errorf("%s: a decision about nobody: %v", name, err)
			}
			i.Snapshot = s.Snapshot()
			if err := s.Record(t.Context(), i); err != nil {
				t.Errorf("%s: decided again: %v", name, err)
			}
		}
		check(t, s)
	})
}

func TestStaleDecisionDoesNotHoldBackItsBatch(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		mine, other := newAccount(t, s, "mine"), newAccount(t, s, "other")
		a, b := issuance(s, mine.ID), issuance(s, other.ID)
		write(t, s, func(tx *store.Tx) error { _, err := tx.BumpGeneration(t.Context(), mine.ID); return err })
		outcomes := make([]error, 2)
		if err := s.CommitBatch(t.Context(), []*store.Issuance{&a, &b}, outcomes); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(outcomes[0], store.ErrStale) || outcomes[1] != nil {
			t.Errorf("outcomes %v", outcomes)
		}
		if n := len(events(t, s, audit.Filter{Type: audit.TokenIssued})); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestNoTokenIsRecordedAfterItsAccountWasStopped(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, clock.System())
		a := newAccount(t, s, "stopped")
		var recorded atomic.Int64
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for {
					i := issuance(s, a.ID)
					if principal(t, s, a.ID).Account.Status != identity.StatusActive {
						return
					}
					if err := s.Record(t.Context(), i); err == nil {
						recorded.Add(1)
					} else if !errors.Is(err, store.ErrStale) {
						t.Error(err)
						return
					}
				}
			})
		}
		eventually(t, 10*time.Second, "some tokens", func() bool { return recorded.Load() > 20 })
		a.Status = identity.StatusDisabled
		if err := s.InTx(t.Context(), func(tx *store.Tx) error {
			tx.Audit(audit.Event{Type: audit.AccountDisabled, Outcome: audit.Success, AccountID: a.ID})
			return tx.UpdateServiceAccount(t.Context(), a)
		}); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		all := events(t, s, audit.Filter{AccountID: a.ID})
		if last := all[len(all)-1].Event.Type; last != audit.AccountDisabled {
			t.Errorf("the last event of a disabled account is %s", last)
		}
		check(t, s)
	})
}

func TestManagementAndIssuanceShareOneChainWithoutGaps(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, clock.System())
		var group sync.WaitGroup
		const writers, rounds = 6, 8
		for w := range writers {
			group.Go(func() {
				for range rounds {
					if err := s.Record(t.Context(), issuance(s, "")); err != nil {
						t.Error(err)
					}
				}
			})
			group.Go(func() {
				for n := range rounds {
					newAccount(t, s, "w"+strconv.Itoa(w)+"-"+strconv.Itoa(n))
				}
			})
		}
		group.Wait()
		got := events(t, s, audit.Filter{Chain: s.AuditChain()})
		if len(got) != 1+2*writers*rounds {
			t.Errorf("%d events in the chain", len(got))
		}
		for i := range got {
			if got[i].Seq != int64(i+1) {
				t.Fatalf("event %d stands in place %d", got[i].Seq, i+1)
			}
		}
		check(t, s)
	})
}

func TestBadEventIsRefusedAlone(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		bad := issuance(s, "")
		bad.Event.Type = "no.such"
		wantCode(t, s.Record(t.Context(), bad), fault.CodeInternal)
		odd := issuance(s, "")
		odd.Event.Reason = "with a \x00 and \xff"
		if err := s.Record(t.Context(), odd); err != nil {
			t.Error(err)
		}
		check(t, s)
	})
}

func TestClosedStoreCommitsWhatWaitsAndRefusesTheRest(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, clock.System())
		var accepted atomic.Int64
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for s.Record(t.Context(), issuance(s, "")) == nil {
					accepted.Add(1)
				}
			})
		}
		eventually(t, 10*time.Second, "some tokens", func() bool { return accepted.Load() > 20 })
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		again := testkit.Open(t, url, clock.System())
		if n := len(events(t, again, audit.Filter{Chain: s.AuditChain(), Type: audit.TokenIssued})); int64(n) != accepted.Load() {
			t.Errorf("%d events of %d accepted decisions", n, accepted.Load())
		}
		check(t, again)
	})
}
