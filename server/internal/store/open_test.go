package store_test

import (
	"os"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestDatabaseElsewhereNeedsVerifiedTLS(t *testing.T) {
	t.Parallel()
	// 192.0.2.0/24 is for documentation: nothing answers there. What is refused
	// is refused before any connection.
	for url, refused := range map[string]bool{
		"postgres://u:hunter2@192.0.2.1/db":                                          true,
		"postgres://u:hunter2@192.0.2.1/db?sslmode=disable":                          true,
		"postgres://u:hunter2@192.0.2.1/db?sslmode=require":                          true,
		"postgres://u:hunter2@192.0.2.1/db?sslmode=verify-ca":                        true,
		"postgres://u:hunter2@127.0.0.1:1,192.0.2.1:1/db?sslmode=disable":            true,
		"postgres://u:hunter2@192.0.2.1/db?sslmode=verify-full&connect_timeout=1":    false,
		"postgres://u:hunter2@127.0.0.1:1/db?sslmode=disable":                        false,
		"postgres://u:hunter2@localhost:1/db?sslmode=prefer":                         false,
		"postgres:///db?host=/nonexistent&user=u&password=hunter2":                   false,
		"postgres://u:hunter2@[::1]:1/db?sslmode=disable&application_name=%00broken": false,
	} {
		ctx, cancel := contextFor(t)
		_, err := store.Open(ctx, store.Options{URL: url, Clock: clock.System()})
		cancel()
		if err == nil {
			t.Errorf("%s was opened", url)
			continue
		}
		if got := strings.Contains(err.Error(), "must be verified TLS"); got != refused {
			t.Errorf("%s: %v", url, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error repeats the password: %v", err)
		}
	}
}

func TestWrongURLIsRefusedByName(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                     "postgres://",
		"mysql://x":            "postgres://",
		"sqlite:relative.db":   "absolute",
		"sqlite:/no/such/x.db": "no such file",
	} {
		_, err := store.Open(t.Context(), store.Options{URL: url, Clock: clock.System()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestServerThatWouldLoseCommitsIsRefused(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	s := open(t, url)
	name := url[strings.Index(url, "@/")+2 : strings.Index(url, "?")]
	if err := s.Exec(t.Context(), "ALTER DATABASE "+name+" SET synchronous_commit = off"); err != nil {
		t.Fatal(err)
	}
	_, err := store.Open(t.Context(), store.Options{URL: url, Clock: clock.System()})
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit = off") {
		t.Errorf("error is %v", err)
	}
}

func TestFilesOfSQLiteAreForTheirOwnerOnly(t *testing.T) {
	t.Parallel()
	url := testkit.SQLite(t)
	s := testkit.Open(t, url, clock.System())
	newAccount(t, s, "written")
	path := strings.TrimPrefix(url, "sqlite:")
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", suffix, info.Mode())
		}
	}
}
