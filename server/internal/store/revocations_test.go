package store_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// read reads one thing.
func read[T any](t testing.TB, s *store.Store, fn func(r *store.Reader) (T, error)) (out T, err error) {
	t.Helper()
	err = s.View(t.Context(), func(r *store.Reader) (err error) {
		out, err = fn(r)
		return err
	})
	return out, err
}

// revokedNow is the revocation of a thing that a node tells verifiers of, or nil.
func revokedNow(s *store.Store, kind identity.RevocationKind, id string) *identity.Revocation {
	for _, r := range s.Revoked() {
		if r.Kind == kind && r.ID == id {
			return &r
		}
	}
	return nil
}

func TestEveryStopIsARevocation(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		ctx, s := t.Context(), testkit.Open(t, url, testkit.Clock(t))
		a := newAccount(t, s, "agent")
		c, other := newSecret(t, s, a.ID), newSecret(t, s, a.ID)
		for _, step := range []struct {
			name string
			do   func(tx *store.Tx) error
			kind identity.RevocationKind
			id   string
			gen  int64
		}{
			{"tokens revoked", func(tx *store.Tx) error { _, err := tx.BumpGeneration(ctx, a.ID); return err }, identity.RevokedServiceAccount, a.ID, 2},
			{"again", func(tx *store.Tx) error { _, err := tx.BumpGeneration(ctx, a.ID); return err }, identity.RevokedServiceAccount, a.ID, 3},
			{"secret deleted", func(tx *store.Tx) error { return tx.DeleteClientSecret(ctx, a.ID, c.ID) }, identity.RevokedCredential, c.ID, 0},
			{"secret ended", func(tx *store.Tx) error { return tx.UpdateClientSecretExpiry(ctx, a.ID, other.ID, tx.Now) }, identity.RevokedCredential, other.ID, 0},
			{"account deleted", func(tx *store.Tx) error {
				now, err := tx.ServiceAccount(ctx, a.ID)
				if err != nil {
					return err
				}
				return tx.DeleteServiceAccount(ctx, now)
			}, identity.RevokedServiceAccount, a.ID, 4},
		} {
			write(t, s, step.do)
			r := revokedNow(s, step.kind, step.id)
			if r == nil || r.Gen != step.gen || r.ExpiresAt.Sub(testkit.Start()) < 24*time.Hour {
				t.Errorf("%s: %+v", step.name, r)
			}
			stored, err := read(t, s, func(r *store.Reader) (*identity.Revocation, error) { return r.Revocation(ctx, step.kind, step.id) })
			if err != nil || stored.Gen != step.gen {
				t.Errorf("%s: stored is %+v, %v", step.name, stored, err)
			}
		}
		check(t, s)
	})
}

func TestWhatIsRolledBackRevokesNothing(t *testing.T) {
	t.Parallel()
	s := testkit.Open(t, testkit.SQLite(t), testkit.Clock(t))
	a := newAccount(t, s, "agent")
	jti := identity.NewID(identity.PrefixToken, testkit.Start())
	undecided := errors.New("no")
	err := tryWrite(t, s, func(tx *store.Tx) error {
		if _, err := tx.RevokeToken(t.Context(), jti, a.ID, "", tx.Now.Add(time.Hour)); err != nil {
			return err
		}
		if _, err := tx.BumpGeneration(t.Context(), a.ID); err != nil {
			return err
		}
		return undecided
	})
	if err == nil || s.TokenRevoked(jti) || revokedNow(s, identity.RevokedServiceAccount, a.ID) != nil {
		t.Errorf("%v: it is revoked", err)
	}
}

func TestAnEndThatIsBroughtForwardIsAnnouncedWhenItComes(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		ctx, clk := t.Context(), testkit.Clock(t)
		s := testkit.Open(t, url, clk)
		a := newAccount(t, s, "agent")
		c, kept, far := newSecret(t, s, a.ID), newSecret(t, s, a.ID), newSecret(t, s, a.ID)
		until := func(id string, after time.Duration) {
			write(t, s, func(tx *store.Tx) error {
				end := time.Time{}
				if after > 0 {
					end = tx.Now.Add(after)
				}
				return tx.UpdateClientSecretExpiry(ctx, a.ID, id, end)
			})
		}
		until(c.ID, 10*time.Minute)
		until(kept.ID, 10*time.Minute)
		until(kept.ID, 0)           // no end after all
		until(far.ID, 48*time.Hour) // no token of now lives so long
		a.ExpiresAt = clk.Now().Add(10 * time.Minute)
		write(t, s, func(tx *store.Tx) error { return tx.UpdateServiceAccount(ctx, a) })

		announce := func() {
			t.Helper()
			if err := s.AnnounceDue(ctx); err != nil {
				t.Fatal(err)
			}
		}
		clk.Advance(9 * time.Minute)
		announce()
		if list := s.Revoked(); len(list) != 0 {
			t.Errorf("before its time: %+v", list)
		}
		clk.Advance(time.Minute)
		announce()
		announce() // finds nothing
		want := map[string]int64{c.ID: 0, a.ID: 2}
		got := map[string]int64{}
		for _, r := range s.Revoked() {
			got[r.ID] = r.Gen
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		// It is allowed again: its new tokens must not be taken for its old ones.
		now, err := read(t, s, func(r *store.Reader) (*identity.ServiceAccount, error) { return r.ServiceAccount(ctx, a.ID) })
		if err != nil {
			t.Fatal(err)
		}
		now.ExpiresAt = time.Time{}
		write(t, s, func(tx *store.Tx) error { return tx.UpdateServiceAccount(ctx, now) })
		if gen := principal(t, s, a.ID).Account.Gen; gen != 2 {
			t.Errorf("its tokens are of generation %d", gen)
		}
		check(t, s)
	})
}

func TestRevocationsAreThereAfterARestart(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t)
		s := testkit.Open(t, url, clk)
		a := newAccount(t, s, "agent")
		write(t, s, func(tx *store.Tx) error {
			for i := range 500 {
				audience := []string{"", "https://a.example", "https://b.example"}[i%3]
				if _, err := tx.RevokeToken(t.Context(), identity.NewID(identity.PrefixToken, tx.Now), a.ID, audience, tx.Now.Add(time.Duration(i)*time.Minute)); err != nil {
					return err
				}
			}
			_, err := tx.BumpGeneration(t.Context(), a.ID)
			return err
		})
		tokens := func(s *store.Store, audience string) (ids [][16]byte) {
			s.RevokedTokens(audience, func(g store.RevokedTokens) { ids = append(ids, g.IDs...) })
			return ids
		}
		all := tokens(s, "")
		for audience, n := range map[string]int{"": 500, "https://a.example": 334, "https://nowhere.example": 167} {
			if got := len(tokens(s, audience)); got != n {
				t.Errorf("%s: %d", audience, got)
			}
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var first store.Followed
		again := testkit.OpenWith(t, store.Options{URL: url, Clock: clk}, func(s *store.Store) {
			s.OnFollowed(func(step store.Followed) {
				mu.Lock()
				defer mu.Unlock()
				if step.Anew {
					first = step
				}
			})
		})
		if got := tokens(again, ""); !slices.Equal(got, all) {
			t.Errorf("%d tokens instead of %d", len(got), len(all))
		}
		if got := len(tokens(again, "https://a.example")); got != 334 {
			t.Errorf("of one audience: %d", got)
		}
		if r := revokedNow(again, identity.RevokedServiceAccount, a.ID); r == nil || r.Gen != 2 {
			t.Errorf("%+v", r)
		}
		mu.Lock()
		defer mu.Unlock()
		if n := len(first.Revoked); n != 501 || first.Position != again.Snapshot() || first.Revoked[n-1].Position > first.Position || first.Floor >= first.Revoked[0].Position {
			t.Errorf("the first step has %d revocations up to %d from %d", n, first.Position, first.Floor)
		}
	})
}

// What a node that lags behind would put into a token is below what verifiers are
// told: the token is dead wherever it is shown.
func TestATokenOfANodeThatLagsBehindIsDead(t *testing.T) {
	t.Parallel()
	here, there, _ := testkit.TwoNodes(t, clock.System())
	a := newAccount(t, here, "agent")
	eventually(t, time.Second, "the account is known", func() bool {
		_, err := there.Principal(t.Context(), a.ID)
		return err == nil
	})
	stale := principal(t, there, a.ID).Account.Gen
	a.Status = identity.StatusDisabled
	write(t, here, func(tx *store.Tx) error {
		if err := tx.UpdateServiceAccount(t.Context(), a); err != nil {
			return err
		}
		_, err := tx.BumpGeneration(t.Context(), a.ID)
		return err
	})
	if r := revokedNow(here, identity.RevokedServiceAccount, a.ID); r == nil || stale >= r.Gen {
		t.Fatalf("generation %d stands beside %+v", stale, r)
	}
	eventually(t, time.Second, "the other node tells of it", func() bool {
		r := revokedNow(there, identity.RevokedServiceAccount, a.ID)
		return r != nil && r.Gen > stale
	})
}
