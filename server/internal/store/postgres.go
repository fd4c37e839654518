package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// Keys of the advisory locks. They share one space with whatever else lives in
// the database, so they are random numbers.
const (
	changesLock = 5903247081266421873
	schemaLock  = 5903247081266421874
)

const (
	connectTimeout = 5 * time.Second
	idleConnection = 5 * time.Minute
	// A transaction is a few statements in a row. One that stands still for
	// longer has lost its node, and its locks would stop all the others.
	idleInTransaction = "3000" // ms
)

// postgresEngine is a bounded pool, shared by readers and writers of this node.
type postgresEngine struct {
	config *pgx.ConnConfig
	db     *bun.DB
	side   *bun.DB // one connection, for the follower
	append *sql.Stmt
}

func openPostgres(ctx context.Context, o *Options) (engine, error) {
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		// pgx takes the password out of what it repeats of the URL.
		return nil, fmt.Errorf("store: the database URL is not valid: %w", err)
	}
	if err := requirePrivatePath(config); err != nil {
		return nil, err
	}
	// bun writes values into the query text. Every text is new, so preparing it
	// first (the default) would double the round trips for nothing.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.RuntimeParams["application_name"] = "marque"
	config.RuntimeParams["idle_in_transaction_session_timeout"] = idleInTransaction
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.RuntimeParams["standard_conforming_strings"] = "on"

	e := &postgresEngine{config: config, db: openPool(config, o.MaxConns), side: openPool(config, 1)}
	if err := e.db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store: connect to PostgreSQL: %w", err), e.close())
	}
	return e, nil
}

func openPool(config *pgx.ConnConfig, size int) *bun.DB {
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(requireDurable))
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(idleConnection)
	return bun.NewDB(db, pgdialect.New())
}

// requirePrivatePath refuses a connection that leaves this host without
// verified TLS: secrets' MACs and tokens' states travel on it.
func requirePrivatePath(c *pgx.ConnConfig) error {
	check := func(host string, t *tls.Config) error {
		if localHost(host) || t != nil && !t.InsecureSkipVerify && t.ServerName != "" {
			return nil
		}
		return fmt.Errorf("store: the connection to the database on %s must be verified TLS: add sslmode=verify-full to its URL (and sslrootcert=… for a private CA)", host)
	}
	err := check(c.Host, c.TLSConfig)
	for _, f := range c.Fallbacks {
		err = errors.Join(err, check(f.Host, f.TLSConfig))
	}
	return err
}

func localHost(host string) bool {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// requireDurable reads back, on every new connection, that a commit reaches the
// disk before it is acknowledged, and refuses the connection otherwise.
func requireDurable(ctx context.Context, c *pgx.Conn) error {
	var commit, fsync, pages, encoding string
	err := c.QueryRow(ctx, `SELECT current_setting('synchronous_commit'), current_setting('fsync'),
		current_setting('full_page_writes'), current_setting('server_encoding')`).Scan(&commit, &fsync, &pages, &encoding)
	switch {
	case err != nil:
		return err
	case commit == "off":
		return errors.New("store: PostgreSQL has synchronous_commit = off: it would lose acknowledged commits")
	case fsync != "on":
		return errors.New("store: PostgreSQL has fsync = off: it would lose acknowledged commits")
	case pages != "on":
		return errors.New("store: PostgreSQL has full_page_writes = off: a power cut could damage it")
	case encoding != "UTF8":
		return fmt.Errorf("store: the database is encoded in %s; it must be UTF8", encoding)
	}
	return nil
}

func (e *postgresEngine) writer() *bun.DB { return e.db }
func (e *postgresEngine) reader() *bun.DB { return e.db }

// roomForViews leaves connections for writers, for loading accounts, and for
// the one that records tokens.
func (e *postgresEngine) roomForViews() int {
	return max(e.db.Stats().MaxOpenConnections-maxWriters-2, 1)
}

func (e *postgresEngine) followerReader() *bun.DB { return e.side }

func (e *postgresEngine) dialect() string { return dialectPostgres }

// serialize must be a statement of its own: the next one then sees what the
// holder before us has committed.
func (e *postgresEngine) serialize(ctx context.Context, tx bun.Tx) error {
	_, err := tx.Tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", int64(changesLock))
	return err
}

// lockSchema holds a session lock on a connection of its own. It goes with the
// session: a killed process leaves nothing locked.
func (e *postgresEngine) lockSchema(ctx context.Context) (func() error, error) {
	c, err := pgx.ConnectConfig(ctx, e.config.Copy())
	if err != nil {
		return nil, err
	}
	unlock := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		defer cancel()
		return c.Close(ctx)
	}
	if _, err := c.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(schemaLock)); err != nil {
		return nil, errors.Join(err, unlock())
	}
	return unlock, nil
}

func (e *postgresEngine) announce(ctx context.Context, tx bun.Tx) error {
	_, err := tx.Tx.ExecContext(ctx, "SELECT pg_notify($1, '')", changesChannel)
	return err
}

func (e *postgresEngine) placeholders(b []byte, first, n int) []byte {
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(first+i), 10)
	}
	return b
}

// integrity has nothing to add: PostgreSQL checks its references itself.
func (e *postgresEngine) integrity(context.Context) error { return nil }

func (e *postgresEngine) template(context.Context) words {
	return words{ID: `TEXT COLLATE "C"`, Bytes: "BYTEA"}
}

func (e *postgresEngine) forUpdate() string { return " FOR UPDATE" }

func (e *postgresEngine) labelMatch() string { return "(CAST(labels AS jsonb) ->> ?) = ?" }

func (e *postgresEngine) bytesMatch() string { return "POSITION(?1 IN ?0) > 0" }

func (e *postgresEngine) close() error { return errors.Join(e.db.Close(), e.side.Close()) }
