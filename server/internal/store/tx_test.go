package store_test

import (
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestWriteWithoutEventIsRefused(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := account("silent")
		err := s.InTx(t.Context(), func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) })
		wantCode(t, err, fault.CodeInternal)
		_, err = s.Principal(t.Context(), a.ID)
		wantCode(t, err, fault.CodeNotFound)
		check(t, s)
	})
}

func TestFailedTransactionLeavesNothing(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		boom := errors.New("boom")
		a := account("undone")
		err := tryWrite(t, s, func(tx *store.Tx) error {
			if err := tx.InsertServiceAccount(t.Context(), a); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatalf("the cause is lost: %v", err)
		}
		_, err = s.Principal(t.Context(), a.ID)
		wantCode(t, err, fault.CodeNotFound)
		if n := len(events(t, s, audit.Filter{AccountID: a.ID})); n != 0 {
			t.Errorf("%d events of what was undone", n)
		}
		check(t, s)
	})
}

func TestPanicInTransactionLeavesNothingLocked(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		func() {
			defer func() { _ = recover() }()
			_ = tryWrite(t, s, func(*store.Tx) error { panic("a bug") })
		}()
		newAccount(t, s, "after")
	})
}

func TestTransactionHasOneTimestampAndReadsItsOwnWrites(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t)
		s := testkit.Open(t, url, clk)
		a := account("mine")
		write(t, s, func(tx *store.Tx) error {
			if err := tx.InsertServiceAccount(t.Context(), a); err != nil {
				return err
			}
			clk.Advance(time.Minute)
			got, err := tx.ServiceAccount(t.Context(), a.ID)
			if err != nil {
				return err
			}
			if !tx.Now.Equal(testkit.Start()) || !got.CreatedAt.Equal(tx.Now) || !got.UpdatedAt.Equal(tx.Now) {
				t.Errorf("times %v, %v in a transaction of %v", got.CreatedAt, got.UpdatedAt, tx.Now)
			}
			return nil
		})
	})
}

func TestNameIsUniqueAmongTheLivingAndFreeAfterDeletion(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		first := newAccount(t, s, "invoice-bot")
		again := account("invoice-bot")
		insert := func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), again) }
		wantCode(t, tryWrite(t, s, insert), fault.CodeNameTaken)
		other := newAccount(t, s, "other")
		other.Name = "invoice-bot"
		wantCode(t, tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateServiceAccount(t.Context(), other) }), fault.CodeNameTaken)

		write(t, s, func(tx *store.Tx) error { return tx.DeleteServiceAccount(t.Context(), first) })
		write(t, s, insert)
		if err := s.View(t.Context(), func(r *store.Reader) error {
			_, err := r.ServiceAccount(t.Context(), first.ID)
			wantCode(t, err, fault.CodeNotFound)
			tomb, err := r.ServiceAccountTombstone(t.Context(), first.ID)
			if err == nil && (tomb.Name != "invoice-bot" || tomb.Gen != 2) {
				t.Errorf("tombstone %+v", tomb)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		check(t, s)
	})
}

func TestOf32WritersWithOneVersionOneWins(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "contended")
		var group sync.WaitGroup
		errs := make([]error, 32)
		for i := range errs {
			mine := *a
			mine.Description = strings.Repeat("x", i+1)
			group.Go(func() {
				errs[i] = tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateServiceAccount(t.Context(), &mine) })
			})
		}
		group.Wait()
		wins := 0
		for _, err := range errs {
			if err == nil {
				wins++
			} else {
				wantCode(t, err, fault.CodePreconditionFailed)
			}
		}
		if wins != 1 {
			t.Errorf("%d of 32 writers won", wins)
		}
		if n := len(events(t, s, audit.Filter{Type: audit.AccountUpdated})); n != 2 { // created, and the one update
			t.Errorf("%d events", n)
		}
		check(t, s)
	})
}

func TestTextThatNoDatabaseTakesIsInvalid(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		for name, spoil := range map[string]func(*identity.ServiceAccount){
			"name":         func(a *identity.ServiceAccount) { a.Name = "a\x00b" },
			"display name": func(a *identity.ServiceAccount) { a.DisplayName = "a\x00b" },
			"description":  func(a *identity.ServiceAccount) { a.Description = "\xff" },
			"owner":        func(a *identity.ServiceAccount) { a.Owner = "\x00" },
			"label":        func(a *identity.ServiceAccount) { a.Labels = map[string]string{"k": "\x00"} },
			"label key":    func(a *identity.ServiceAccount) { a.Labels = map[string]string{"\x00": "v"} },
		} {
			a := account("text")
			spoil(a)
			err := tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(ctx, a) })
			if !fault.Is(err, fault.CodeInvalidRequest) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := s.View(ctx, func(r *store.Reader) error {
			_, err := r.ServiceAccount(ctx, "sa_\x00")
			wantCode(t, err, fault.CodeNotFound)
			_, _, err = r.ServiceAccounts(ctx, store.AccountFilter{Owner: "\x00"}, store.Page{Size: 5})
			wantCode(t, err, fault.CodeInvalidRequest)
			_, _, err = r.Roles(ctx, store.RoleFilter{NamePrefix: "\xff"}, store.Page{Size: 5})
			wantCode(t, err, fault.CodeInvalidRequest)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		_, err := s.Principal(ctx, "sa_\x00")
		wantCode(t, err, fault.CodeNotFound)
		_, err = s.ResourceServerByAudience(ctx, "https://\x00")
		wantCode(t, err, fault.CodeNotFound)
	})
}

func TestPagesStayStableUnderInserts(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		want := map[string]bool{}
		for i := range 25 {
			want[newAccount(t, s, "page-"+string(rune('a'+i))).ID] = true
		}
		seen := map[string]bool{}
		page := store.Page{Size: 4}
		for n := 0; ; n++ {
			newAccount(t, s, "late-"+string(rune('a'+n)))
			var more bool
			if err := s.View(t.Context(), func(r *store.Reader) error {
				items, m, err := r.ServiceAccounts(t.Context(), store.AccountFilter{NamePrefix: "page-"}, page)
				for _, a := range items {
					if seen[a.ID] {
						t.Errorf("%s was seen twice", a.ID)
					}
					seen[a.ID] = true
					page.After = a.ID
				}
				more = m
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
		}
		for id := range want {
			if !seen[id] {
				t.Errorf("%s was missed", id)
			}
		}
	})
}

func TestConcurrentWritersNeverBreakARuleTogether(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, clock.System())
		var admins []*identity.ServiceAccount
		for _, name := range []string{"one", "two", "three", "four"} {
			a := newAccount(t, s, name)
			assign(t, s, a.ID, identity.RoleAdminID, time.Time{})
			admins = append(admins, a)
		}
		var group sync.WaitGroup
		for _, a := range admins {
			group.Go(func() {
				_ = tryWrite(t, s, func(tx *store.Tx) error {
					n, err := tx.EnabledAdministrators(t.Context(), tx.Now)
					if err != nil || n <= 1 {
						return errors.Join(err, errors.New("the last one stays"))
					}
					return tx.Unassign(t.Context(), a.ID, identity.RoleAdminID)
				})
			})
		}
		group.Wait()
		if err := s.View(t.Context(), func(r *store.Reader) error {
			n, err := r.EnabledAdministrators(t.Context(), testkit.Start())
			if n != 1 {
				t.Errorf("%d administrators are left", n)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	})
}

// events lists all events that match.
func events(t testing.TB, s *store.Store, f audit.Filter) []audit.Link {
	t.Helper()
	var all []audit.Link
	if err := s.View(t.Context(), func(r *store.Reader) error {
		p := store.AuditPage{Size: 100}
		for {
			items, next, err := r.AuditEvents(t.Context(), f, p)
			all = append(all, items...)
			if err != nil || next == nil {
				return err
			}
			p.After = *next
		}
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// So what it has read is still true when it writes.
func TestAWriteHasTheFileFromItsBegin(t *testing.T) {
	t.Parallel()
	url := testkit.SQLite(t)
	s := testkit.Open(t, url, clock.System())
	a := newAccount(t, s, "mine")
	beside, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(url, "sqlite:")+"?_pragma=busy_timeout(50)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = beside.Close() }()
	write(t, s, func(tx *store.Tx) error {
		if _, err := tx.ServiceAccount(t.Context(), a.ID); err != nil {
			return err
		}
		if _, err := beside.ExecContext(t.Context(), "UPDATE service_accounts SET gen = gen"); err == nil {
			t.Error("another process wrote between what the transaction has read and what it writes")
		}
		a.Description = "x"
		return tx.UpdateServiceAccount(t.Context(), a)
	})
}
