package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"modernc.org/sqlite"
)

const (
	dialectSQLite   = "sqlite"
	dialectPostgres = "postgres"
)

// sqliteReaders is how many reads run beside the one writer.
const sqliteReaders = 2

// accountsPerKiB: for so many accounts that may be in memory, a connection keeps
// one KiB of pages. Where there are many there are more still, which are read
// from the file and marked as used again and again: the inner pages of the
// indexes should stay.
const accountsPerKiB = 25

// sqliteEngine is one file: one connection that writes, some that read. Only
// one process serves it, by a lock on a file beside it; see [Options.Beside].
type sqliteEngine struct {
	path string
	w, r *bun.DB
	lock *flock.Flock // nil when read-only or beside a server

	inserts sqliteInserts
}

func openSQLite(ctx context.Context, path string, o *Options) (engine, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("store: the path of a SQLite database is absolute (sqlite:/var/lib/marque/marque.db), not %q", path)
	}
	e := &sqliteEngine{path: path}
	if !o.ReadOnly && !o.Beside {
		if err := e.takeFile(); err != nil {
			return nil, err
		}
	}
	if err := e.open(ctx, o); err != nil {
		return nil, errors.Join(err, e.close())
	}
	return e, nil
}

// takeFile locks and creates the file. The lock belongs to the process and
// goes with it, however it ends. SQLite gives its side files the mode of the
// database, so that is made private before SQLite sees it.
func (e *sqliteEngine) takeFile() error {
	lock := flock.New(e.path+".lock", flock.SetPermissions(0o600))
	ok, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("store: lock the database: %w", err)
	}
	if !ok {
		return fmt.Errorf("store: another process uses %s (it holds %s.lock): stop it first; several nodes need PostgreSQL", e.path, e.path)
	}
	e.lock = lock
	f, err := os.OpenFile(e.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return errors.Join(fmt.Errorf("store: %w", err), lock.Unlock())
	}
	return f.Close()
}

func (e *sqliteEngine) open(ctx context.Context, o *Options) error {
	var err error
	if !o.ReadOnly {
		if e.w, err = openSQLitePool(ctx, e.dsn(true, o), 1); err != nil {
			return fmt.Errorf("store: open %s: %w", e.path, err)
		}
	}
	if e.r, err = openSQLitePool(ctx, e.dsn(false, o), sqliteReaders); err != nil {
		return fmt.Errorf("store: open %s: %w", e.path, err)
	}
	return nil
}

func openSQLitePool(ctx context.Context, dsn string, size int) (*bun.DB, error) {
	base, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(durableSQLite{base})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return bun.NewDB(db, sqlitedialect.New()), db.PingContext(ctx)
}

// dsn: every write transaction begins IMMEDIATE, so that two never both read
// first and then find that only one may write. A process beside the server waits longer for its turn, since the server takes
// one after another and fails when it cannot.
func (e *sqliteEngine) dsn(writer bool, o *Options) string {
	q := url.Values{}
	q.Set("_dqs", "0")
	q.Set("_defensive", "1")
	q.Set("_busy_timeout", "2000")
	if o.Beside {
		q.Set("_busy_timeout", "30000")
		q.Set("mode", "rw")
	}
	q.Set("_foreign_keys", "1")
	q.Set("_synchronous", "FULL")
	q.Add("_pragma", "trusted_schema(0)")
	q.Add("_pragma", "journal_size_limit(67108864)")
	pages := o.CacheAccounts / accountsPerKiB
	if writer {
		q.Set("_journal_mode", "WAL")
		q.Set("_txlock", "immediate")
		q.Add("_pragma", "page_size(8192)") // for a new file: events of up to 2 KiB stay in one page
		q.Add("_pragma", cacheSize(max(2000, pages)))
	} else {
		q.Set("mode", "rw") // never makes an empty database out of a wrong path
		q.Set("_query_only", "1")
		q.Add("_pragma", cacheSize(max(1000, pages)))
	}
	u := url.URL{Scheme: "file", Path: e.path, RawQuery: q.Encode()}
	return u.String()
}

func cacheSize(kib int) string { return fmt.Sprintf("cache_size(-%d)", kib) }

// durableSQLite reads back, on every new connection, that a commit reaches the
// disk before it returns, and refuses the connection otherwise. A test cannot
// show a power cut; this is what stands in for it.
type durableSQLite struct{ driver.Connector }

// Connect opens a connection and reads its durability back.
func (d durableSQLite) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := d.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "foreign_keys": "1"} {
		got, err := readPragma(ctx, c, pragma)
		if err == nil && got != want {
			err = fmt.Errorf("store: this SQLite connection has %s = %s where %s is needed", pragma, got, want)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

func readPragma(ctx context.Context, c driver.Conn, name string) (value string, err error) {
	q, ok := c.(driver.QueryerContext)
	if !ok {
		return "", errors.New("store: the SQLite driver cannot be asked for its settings")
	}
	rows, err := q.QueryContext(ctx, "PRAGMA "+name, nil)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return fmt.Sprint(row[0]), nil
}

func (e *sqliteEngine) writer() *bun.DB   { return e.w }
func (e *sqliteEngine) reader() *bun.DB   { return e.r }
func (e *sqliteEngine) roomForViews() int { return sqliteReaders - 1 }

func (e *sqliteEngine) followerReader() *bun.DB { return e.r }

func (e *sqliteEngine) dialect() string { return dialectSQLite }

// serialize has nothing to do: BEGIN IMMEDIATE on the one writing connection.
func (e *sqliteEngine) serialize(context.Context, bun.Tx) error { return nil }

// lockSchema has nothing to do: the lock of the file is held since Open.
func (e *sqliteEngine) lockSchema(context.Context) (func() error, error) {
	return func() error { return nil }, nil
}

// announce has nobody to tell: all changes are made in this process.
func (e *sqliteEngine) announce(context.Context, bun.Tx) error { return nil }

func (e *sqliteEngine) follow(ctx context.Context, _ follower) { <-ctx.Done() }

func (e *sqliteEngine) placeholders(b []byte, _, n int) []byte {
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '?')
	}
	return b
}

func (e *sqliteEngine) integrity(ctx context.Context) error {
	var result string
	if err := e.r.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return fmt.Errorf("store: SQLite finds its file damaged: %s", result)
	}
	rows, err := e.r.QueryContext(ctx, "PRAGMA foreign_key_check")
	if err != nil {
		return err
	}
	broken := rows.Next()
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if broken {
		return errors.New("store: a row refers to one that is not there")
	}
	return nil
}

func (e *sqliteEngine) template(ctx context.Context) words {
	return words{ID: "TEXT", Bytes: "BLOB", WithoutRowID: " WITHOUT ROWID", hasColumn: func(table, column string) (there bool, err error) {
		err = e.r.QueryRowContext(ctx, "SELECT COUNT(*) > 0 FROM pragma_table_info(?) WHERE name = ?", table, column).Scan(&there)
		return there, err
	}}
}

// forUpdate adds nothing: there is one writer.
func (e *sqliteEngine) forUpdate() string { return "" }

func (e *sqliteEngine) labelMatch() string {
	return "EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = ? AND label.atom = ?)"
}

func (e *sqliteEngine) bytesMatch() string { return "INSTR(?0, ?1) > 0" }

func (e *sqliteEngine) close() error {
	var errs []error
	for _, db := range []*bun.DB{e.r, e.w} { // the writer last: it folds the log into the file
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if e.lock != nil {
		errs = append(errs, e.lock.Unlock())
	}
	return errors.Join(errs...)
}
