package store_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestOwnWritesAreReadAtOnce(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		a := account("own")
		_, err := s.Principal(ctx, a.ID) // remembered as unknown
		wantCode(t, err, fault.CodeNotFound)
		write(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(ctx, a) })
		if p := principal(t, s, a.ID); len(p.Secrets) != 0 || len(p.Grants) != 0 {
			t.Errorf("a new account has %+v", p)
		}

		c := newSecret(t, s, a.ID)
		if _, there := principal(t, s, a.ID).Credential(c.ID); !there {
			t.Error("the new secret is missing")
		}
		rs, role := newAPI(t, s, "api", "x:read", "x:write")
		assign(t, s, a.ID, role.ID, time.Time{})
		permissions, roles := principal(t, s, a.ID).Grants[rs.Identifier].At(testkit.Start())
		if diff := cmp.Diff([][]string{{"x:read", "x:write"}, {"api-user"}}, [][]string{permissions, roles}); diff != "" {
			t.Error(diff)
		}
		role.Permissions = role.Permissions[:1]
		write(t, s, func(tx *store.Tx) error { return tx.UpdateRole(ctx, role) })
		if permissions, _ := principal(t, s, a.ID).Grants[rs.Identifier].At(testkit.Start()); !slices.Equal(permissions, []string{"x:read"}) {
			t.Errorf("after the role shrank: %v", permissions)
		}
		rs.Name = "renamed"
		if was, err := s.ResourceServerByAudience(ctx, rs.Identifier); err != nil || was.Name != "api" {
			t.Fatal(was, err)
		}
		write(t, s, func(tx *store.Tx) error { return tx.UpdateResourceServer(ctx, rs) })
		for _, get := range []func() (*identity.ResourceServer, error){
			func() (*identity.ResourceServer, error) { return s.ResourceServerByAudience(ctx, rs.Identifier) },
			func() (*identity.ResourceServer, error) { return s.ResourceServerByID(ctx, rs.ID) },
		} {
			if got, err := get(); err != nil || got.Name != "renamed" {
				t.Errorf("%+v, %v", got, err)
			}
		}
		write(t, s, func(tx *store.Tx) error { return tx.DeleteClientSecret(ctx, a.ID, c.ID) })
		if _, there := principal(t, s, a.ID).Credential(c.ID); there {
			t.Error("the deleted secret is still there")
		}
		if gen := principal(t, s, a.ID).Account.Gen; gen != 1 {
			t.Errorf("generation %d", gen)
		}
		write(t, s, func(tx *store.Tx) error { _, err := tx.BumpGeneration(ctx, a.ID); return err })
		if gen := principal(t, s, a.ID).Account.Gen; gen != 2 {
			t.Errorf("generation %d after everything was revoked", gen)
		}
		now := principal(t, s, a.ID).Account
		write(t, s, func(tx *store.Tx) error { return tx.DeleteServiceAccount(ctx, &now) })
		_, err = s.Principal(ctx, a.ID)
		wantCode(t, err, fault.CodeNotFound)
		check(t, s)
	})
}

func TestAssignmentEndsByTheClockWithoutAnyRead(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "temporary")
		rs, role := newAPI(t, s, "api", "x:read", "x:write")
		narrow := &identity.Role{ID: identity.NewID(identity.PrefixRole, testkit.Start()), Name: "a-reader", Permissions: role.Permissions[:1]}
		write(t, s, func(tx *store.Tx) error { return tx.InsertRole(t.Context(), narrow) })
		end := testkit.Start().Add(time.Minute)
		assign(t, s, a.ID, role.ID, end)
		assign(t, s, a.ID, narrow.ID, time.Time{})
		g := principal(t, s, a.ID).Grants[rs.Identifier]
		for at, want := range map[time.Time][][]string{
			end.Add(-time.Microsecond): {{"x:read", "x:write"}, {"a-reader", "api-user"}},
			end:                        {{"x:read"}, {"a-reader"}},
		} {
			permissions, roles := g.At(at)
			if diff := cmp.Diff(want, [][]string{permissions, roles}); diff != "" {
				t.Errorf("at %v: %s", at, diff)
			}
		}
		view(t, s, func(r *store.Reader) error {
			got, err := r.EffectivePermissions(t.Context(), a.ID, end)
			if permissions, _ := got[rs.Identifier].At(end); !slices.Equal(permissions, []string{"x:read"}) {
				t.Errorf("effective: %v", permissions)
			}
			return err
		})
		if permissions, roles := (*store.Grant)(nil).At(end); permissions != nil || roles != nil {
			t.Error("no grant grants something")
		}
	})
}

func TestUnknownAccountAsksTheDatabaseOnceASecond(t *testing.T) {
	t.Parallel()
	elapsed := testkit.Clock(t)
	url := testkit.Postgres(t)
	s := testkit.OpenWith(t, store.Options{URL: url, Clock: testkit.Clock(t), Elapsed: elapsed})
	quiet := newQuietNode(t, url)
	a := account("elsewhere")
	_, err := s.Principal(t.Context(), a.ID)
	wantCode(t, err, fault.CodeNotFound)
	quiet(a) // without announcing it
	_, err = s.Principal(t.Context(), a.ID)
	wantCode(t, err, fault.CodeNotFound)
	elapsed.Advance(time.Second)
	principal(t, s, a.ID)
}

func TestCacheStaysWithinItsBound(t *testing.T) {
	t.Parallel()
	s := testkit.OpenWith(t, store.Options{URL: testkit.SQLite(t), Clock: testkit.Clock(t), CacheAccounts: 8})
	var ids []string
	for i := range 40 {
		ids = append(ids, newAccount(t, s, "n"+string(rune('0'+i%10))+string(rune('0'+i/10))).ID)
	}
	for range 3 {
		for _, id := range ids {
			if p := principal(t, s, id); p.Account.ID != id {
				t.Fatalf("asked for %s, got %s", id, p.Account.ID)
			}
			if n := s.CachedPrincipals(); n > 8 {
				t.Fatalf("%d accounts in memory", n)
			}
		}
	}
}

func TestReadersNeverSeeLessThanWhatWasCommittedBefore(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, clock.System())
		a := newAccount(t, s, "moving")
		var committed atomic.Int64
		committed.Store(1)
		done := make(chan struct{})
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					least := committed.Load()
					p, err := s.Principal(t.Context(), a.ID)
					if err != nil || p.Account.Gen < least {
						t.Errorf("read generation %d after %d was committed: %v", p.Account.Gen, least, err)
						return
					}
				}
			})
		}
		for range 60 {
			var gen int64
			write(t, s, func(tx *store.Tx) (err error) { gen, err = tx.BumpGeneration(t.Context(), a.ID); return err })
			committed.Store(gen)
		}
		close(done)
		group.Wait()
	})
}

// As a wrong secret has it done: guessing must not reach the database.
func TestAKnownAccountIsReadAnewOnceASecond(t *testing.T) {
	t.Parallel()
	elapsed := testkit.Clock(t)
	url := testkit.Postgres(t)
	s := testkit.OpenWith(t, store.Options{URL: url, Clock: testkit.Clock(t), Elapsed: elapsed})
	a := newAccount(t, s, "known")
	principal(t, s, a.ID)
	gen := func() int64 {
		p, err := s.RefreshPrincipal(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		return p.Account.Gen
	}
	behind := func(n string) {
		if err := s.Exec(t.Context(), "UPDATE service_accounts SET gen = "+n+" WHERE id = '"+a.ID+"'"); err != nil {
			t.Fatal(err)
		}
	}
	elapsed.Advance(time.Second)
	behind("7")
	if g := gen(); g != 7 {
		t.Fatalf("not read anew: %d", g)
	}
	behind("8")
	if g := gen(); g != 7 {
		t.Errorf("read again within the second: %d", g)
	}
	elapsed.Advance(time.Second - 1)
	if g := gen(); g != 7 {
		t.Errorf("read again within the second: %d", g)
	}
	elapsed.Advance(1)
	if g := gen(); g != 8 {
		t.Errorf("not read after a second: %d", g)
	}
}
