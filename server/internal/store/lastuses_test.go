package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestLastUsesAreWrittenInBatchesAndChangeNothingElse(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, testkit.Clock(t))
		a := newAccount(t, s, "used")
		c := newSecret(t, s, a.ID)
		before := s.Snapshot()
		at := testkit.Start().Add(time.Hour)
		touch(t, s, a.ID, c.ID, at)
		touch(t, s, a.ID, c.ID, at.Add(-time.Minute)) // an older one does not set it back
		s.Touch(&store.Principal{Account: identity.ServiceAccount{ID: "sa_gone"}}, "sec_gone", at)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := testkit.Open(t, url, testkit.Clock(t))
		used := accountUse(t, again, a.ID)
		if p := principal(t, again, a.ID); !used.LastUsedAt.Equal(at) || !p.Secrets[0].LastUsedAt.Equal(at) {
			t.Errorf("last used %v and %v", used.LastUsedAt, p.Secrets[0].LastUsedAt)
		}
		if used.Version != a.Version || again.Snapshot() != before {
			t.Error("a use has changed the version or the changes")
		}
	})
}

func TestALastUseIsKnownToFiveMinutesInARotationAndElseToTheHour(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "rotating")
		old := newSecret(t, s, a.ID)
		at := testkit.Start()
		// written counts the uses that are written while the secret is used
		// every ten seconds for so long.
		written := func(long time.Duration) (n int) {
			for end := at.Add(long); at.Before(end); at = at.Add(10 * time.Second) {
				touch(t, s, a.ID, old.ID, at)
				n += s.WaitingUses()
				if err := s.FlushUses(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			return n
		}
		if n := written(10 * time.Hour); n < 10 || n > 11 {
			t.Errorf("alone, it is written %d times in ten hours", n)
		}
		fresh := newSecret(t, s, a.ID)
		if n := written(time.Hour); n < 12 || n > 13 {
			t.Errorf("beside another, it is written %d times in an hour", n)
		}
		rest := at.Add(-10 * time.Second)
		touch(t, s, a.ID, fresh.ID, at)
		if err := s.FlushUses(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id, within := range map[string][2]time.Time{old.ID: {rest.Add(-5 * time.Minute), rest}, fresh.ID: {at, at}} {
			if got := secretUse(t, s, a.ID, id); got.Before(within[0]) || got.After(within[1]) {
				t.Errorf("%s was last used at %v, which is said to be %v", id, within[1], got)
			}
		}
	})
}

func touch(t *testing.T, s *store.Store, account, credential string, at time.Time) {
	t.Helper()
	s.Touch(principal(t, s, account), credential, at)
}

// An account was last used when one of its credentials was, of whatever kind,
// even if that has gone since.
func TestAnAccountWasUsedWhenItsCredentialsWere(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		ctx, start := t.Context(), testkit.Start()
		never, bySecret, byKey := newAccount(t, s, "never"), newAccount(t, s, "by-secret"), newAccount(t, s, "by-key")
		secret, second, key := newSecret(t, s, bySecret.ID), newSecret(t, s, bySecret.ID), newKey(t, s, byKey.ID)
		touch(t, s, bySecret.ID, secret.ID, start.Add(3*time.Hour))
		touch(t, s, bySecret.ID, second.ID, start.Add(2*time.Hour))
		touch(t, s, byKey.ID, key.ID, start.Add(4*time.Hour))
		if err := s.FlushUses(ctx); err != nil {
			t.Fatal(err)
		}
		write(t, s, func(tx *store.Tx) error { return tx.DeleteClientSecret(ctx, bySecret.ID, secret.ID) })
		for id, want := range map[string]time.Time{never.ID: {}, bySecret.ID: start.Add(3 * time.Hour), byKey.ID: start.Add(4 * time.Hour)} {
			if got := accountUse(t, s, id).LastUsedAt; !got.Equal(want) {
				t.Errorf("%s: last used %v, want %v", id, got, want)
			}
		}
		for hours, want := range map[int][]string{2: {"never"}, 3: {"never"}, 4: {"by-secret", "never"}, 5: {"by-key", "by-secret", "never"}} {
			view(t, s, func(r *store.Reader) error {
				items, _, err := r.ServiceAccounts(ctx, store.AccountFilter{UnusedSince: start.Add(time.Duration(hours) * time.Hour)}, store.Page{Size: 10})
				var got []string
				for _, a := range items {
					got = append(got, a.Name)
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("unused for %d hours: %v, want %v", hours, got, want)
				}
				return err
			})
		}
	})
}

func accountUse(t *testing.T, s *store.Store, id string) (a *identity.ServiceAccount) {
	t.Helper()
	view(t, s, func(r *store.Reader) (err error) {
		a, err = r.ServiceAccount(t.Context(), id)
		return err
	})
	return a
}

func secretUse(t *testing.T, s *store.Store, account, id string) (at time.Time) {
	t.Helper()
	view(t, s, func(r *store.Reader) error {
		c, err := r.ClientSecret(t.Context(), account, id)
		if err == nil {
			at = c.LastUsedAt
		}
		return err
	})
	return at
}
