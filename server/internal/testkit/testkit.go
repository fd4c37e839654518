// Package testkit gives tests a real store on both databases: SQLite in a
// temporary directory, and PostgreSQL on a server of the tests' own, which is
// started once for a test process and ends with it, however that ends.
package testkit

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/store"
)

// patience bounds every step of the set-up.
const patience = time.Minute

// Start is the time that [Clock] shows first.
func Start() time.Time { return time.Date(2026, time.November, 2, 15, 4, 5, 0, time.UTC) }

// Clock is a fake clock that shows [Start].
func Clock(t testing.TB) *clock.Fake {
	t.Helper()
	return clockwork.NewFakeClockAt(Start())
}

// Stores runs fn as two parallel subtests, on SQLite and on PostgreSQL, each
// with a store of its own that is migrated and started, under a fake clock. A
// test that needs the clock, or a second store on the same database, uses
// [Databases] and [Open].
func Stores(t *testing.T, fn func(t *testing.T, s *store.Store)) {
	t.Helper()
	Databases(t, func(t *testing.T, url string) {
		t.Helper()
		fn(t, Open(t, url, Clock(t)))
	})
}

// Databases runs fn as two parallel subtests, each with the URL of a fresh,
// migrated database.
func Databases(t *testing.T, fn func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fn(t, Postgres(t))
	})
}

// Open opens and starts a store on the database, and closes it when the test
// ends. On PostgreSQL a second one is a second node.
func Open(t testing.TB, url string, clk clock.Clock) *store.Store {
	t.Helper()
	return OpenWith(t, store.Options{URL: url, Clock: clk})
}

// TwoNodes opens and starts two stores on one fresh PostgreSQL database, as two
// servers have it; url is for further ones.
func TwoNodes(t testing.TB, clk clock.Clock) (here, there *store.Store, url string) {
	t.Helper()
	url = Postgres(t)
	return Open(t, url, clk), Open(t, url, clk), url
}

// OpenWith is [Open] with other options, and with what is to be done before the
// start.
func OpenWith(t testing.TB, o store.Options, before ...func(*store.Store)) *store.Store {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	if o.MaxConns == 0 {
		o.MaxConns = 8
	}
	s, err := store.Open(ctx, o)
	if err != nil {
		t.Fatalf("open %s: %v", o.URL, err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	for _, fn := range before {
		fn(s)
	}
	if err := s.Start(ctx); err != nil {
		t.Fatalf("start the store: %v", err)
	}
	return s
}

// SQLite is the URL of a fresh, migrated SQLite database.
func SQLite(t testing.TB) string {
	t.Helper()
	url := "sqlite:" + filepath.Join(t.TempDir(), "marque.db")
	if err := migrate(url); err != nil {
		t.Fatal(err)
	}
	return url
}

// Empty runs fn as two parallel subtests, each with the URL of a database that
// holds nothing at all.
func Empty(t *testing.T, fn func(t *testing.T, url string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		fn(t, "sqlite:"+filepath.Join(t.TempDir(), "marque.db"))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		fn(t, emptyPostgres(t))
	})
}

// migrate makes the schema, an hour before the tests begin, so that the chain
// of this run comes before theirs.
func migrate(url string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := store.Open(ctx, store.Options{URL: url, Clock: clockwork.NewFakeClockAt(Start().Add(-time.Hour)), MaxConns: 2})
	if err != nil {
		return err
	}
	if err := s.Migrate(ctx); err != nil {
		_ = s.Close(ctx) // the first error is the one to tell
		return err
	}
	return s.Close(ctx)
}
