package store

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/clock"
)

// No test here can cut the power. What they hold to is what a commit rests on
// when somebody does: that every connection has it reach the disk first, that
// this is read back from the connection, and that each way to have lost it is
// refused by its name.

// fileOf makes a database file with nothing in it.
func fileOf(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "marque.db")
	e, err := openSQLite(t.Context(), path, &Options{Clock: clock.System()})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryConnectionToSQLiteIsDurable(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"a server":     {},
		"beside it":    {Beside: true},
		"only to read": {ReadOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := fileOf(t)
			opened, err := openSQLite(t.Context(), path, &o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := opened.close(); err != nil {
					t.Error(err)
				}
			})
			e := opened.(*sqliteEngine)
			seen := 0
			every := func(what string, db *bun.DB, queryOnly string) {
				// All are taken out at once, so that each is looked at.
				for range db.Stats().MaxOpenConnections {
					c, err := db.Conn(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = c.Close() }()
					seen++
					for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1", "query_only": queryOnly} {
						var got string
						if err := c.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
							t.Errorf("a %s has %s = %s, %v; want %s", what, pragma, got, err, want)
						}
					}
				}
			}
			every("reader", e.reader(), "1")
			want := sqliteReaders
			if !o.ReadOnly {
				every("writer", e.writer(), "0")
				want++
			}
			if seen != want {
				t.Errorf("%d connections were looked at, want %d", seen, want)
			}
		})
	}
}

// The settings are made in one place and read back in another: one that is not
// made there, or that SQLite does not take, opens no pool.
func TestSQLiteThatWouldLoseCommitsIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ from, to, refusal string }{
		"as it is":           {"", "", ""},
		"synchronous off":    {"_synchronous=FULL", "_synchronous=OFF", "synchronous = 0 where 2 is needed"},
		"synchronous normal": {"_synchronous=FULL", "_synchronous=NORMAL", "synchronous = 1 where 2 is needed"},
		"a rollback journal": {"_journal_mode=WAL", "_journal_mode=DELETE", "journal_mode = delete where wal is needed"},
		"one in memory":      {"_journal_mode=WAL", "_journal_mode=MEMORY", "journal_mode = memory where wal is needed"},
		"no foreign keys":    {"_foreign_keys=1", "_foreign_keys=0", "foreign_keys = 0 where 1 is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &sqliteEngine{path: filepath.Join(t.TempDir(), "marque.db")}
			dsn := e.dsn(true, &Options{})
			if !strings.Contains(dsn, c.from) {
				t.Fatalf("%s is not in %s", c.from, dsn)
			}
			db, err := openSQLitePool(t.Context(), strings.Replace(dsn, c.from, c.to, 1), 1)
			if db != nil {
				defer func() { _ = db.Close() }()
			}
			switch {
			case c.refusal == "" && err != nil:
				t.Error(err)
			case c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)):
				t.Errorf("error is %v, want %q", err, c.refusal)
			}
		})
	}
}
