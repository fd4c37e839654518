package store

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/conformance/postgres"
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

// What PostgreSQL does is set at many places: for the server, the database, and
// the session. Each alone is enough to be refused, on a server that is started
// with it; what waits for a standby as well is welcome.
func TestPostgreSQLThatWouldLoseCommitsIsRefused(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cluster, err := postgres.StartIn(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	url, err := cluster.Database(ctx)
	if err != nil {
		t.Fatal(err)
	}
	do := func(statement string) {
		t.Helper()
		if err := cluster.Exec(ctx, url, statement); err != nil {
			t.Fatal(err)
		}
	}
	do("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
	latin := strings.Replace(url, "marque_1", "latin", 1)
	withOption := func(option string) string { return url + "&options=-c%20" + option }

	check := func(name, url, refusal string) {
		t.Helper()
		e, err := openPostgres(ctx, &Options{URL: url, MaxConns: 2})
		if err == nil {
			err = e.close()
		}
		switch {
		case refusal == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case refusal != "" && (err == nil || !strings.Contains(err.Error(), refusal)):
			t.Errorf("%s: error is %v, want %q", name, err, refusal)
		}
	}
	const commitOff, fsyncOff, pagesOff = "has synchronous_commit = off: it would lose acknowledged commits",
		"has fsync = off: it would lose acknowledged commits", "has full_page_writes = off: a power cut could damage it"
	check("as it is", url, "")
	check("another encoding", latin, "encoded in LATIN1; it must be UTF8")
	for mode, refusal := range map[string]string{"off": commitOff, "local": "", "on": "", "remote_write": "", "remote_apply": ""} {
		check("for the session "+mode, withOption("synchronous_commit%3D"+mode), refusal)
	}
	// Two of these are the server's alone: it is stopped and started again with them.
	for setting, refusal := range map[string]string{"fsync": fsyncOff, "full_page_writes": pagesOff, "synchronous_commit": commitOff} {
		do("ALTER SYSTEM SET " + setting + " = off")
		restart(ctx, t, cluster)
		check(setting, url, refusal)
		do("ALTER SYSTEM RESET " + setting)
	}
	restart(ctx, t, cluster)
	check("as it was", url, "")

	// A pool opens connections later as well; the follower's has none yet.
	e, err := openPostgres(ctx, &Options{URL: url, MaxConns: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.close() }()
	do("ALTER DATABASE marque_1 SET synchronous_commit = off")
	if err := e.followerReader().PingContext(ctx); err == nil || !strings.Contains(err.Error(), commitOff) {
		t.Errorf("the connection of the follower: error is %v", err)
	}
}

func restart(ctx context.Context, t *testing.T, cluster *postgres.Cluster) {
	t.Helper()
	cluster.Crash()
	if err := cluster.Resume(ctx); err != nil {
		t.Fatal(err)
	}
}
