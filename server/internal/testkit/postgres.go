package testkit

import (
	"context"
	"os"
	"testing"

	"github.com/marque-id/marque/conformance/postgres"
)

// Postgres is the URL of a fresh, migrated PostgreSQL database. It is dropped
// when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := postgres.Shared(t)
	template, err := c.Template(ctx, migrate)
	if err != nil {
		t.Fatal(err)
	}
	return kept(t, c)(c.Copy(ctx, template))
}

// emptyPostgres is the URL of a PostgreSQL database that holds nothing at all.
func emptyPostgres(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := postgres.Shared(t)
	return kept(t, c)(c.Database(ctx))
}

// kept keeps a new database until the test ends.
func kept(t testing.TB, c *postgres.Cluster) func(url string, err error) string {
	return func(url string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
			defer cancel()
			if err := c.Drop(ctx, url); err != nil {
				t.Error(err)
			}
		})
		return url
	}
}

// PostgresCluster is a PostgreSQL server of the test's own, to be set up and
// stopped as the others must not be.
func PostgresCluster(t testing.TB) *postgres.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := postgres.StartIn(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// PostgresSocket is the Unix socket of the tests' server, for proxies that
// stand between it and a store.
func PostgresSocket(t testing.TB) string {
	t.Helper()
	return postgres.Shared(t).Socket()
}

// PostgresLog is what the tests' server has written to its log so far.
func PostgresLog(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(postgres.Shared(t).Log())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
