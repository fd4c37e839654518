package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/identity"
)

// Options say which database to open and how.
type Options struct {
	// URL is "postgres://…" or "sqlite:/absolute/path.db".
	URL string
	// Clock dates rows and events.
	Clock clock.Clock
	// Elapsed measures waiting and freshness; nil is the system's clock. It is
	// apart from Clock so that a jump of the date neither ages a cache nor
	// stops the follower.
	Elapsed clock.Clock
	Log     *slog.Logger // nil discards
	// MaxConns bounds the PostgreSQL pool; zero is 16.
	MaxConns int
	// ReadOnly opens beside a running server, without the lock of the file:
	// only View, Pending, Ready and Check work.
	ReadOnly bool
	// Beside opens beside a running server and also without the lock of the file,
	// for what ReadOnly allows and [Store.Rewrap].
	//
	// On SQLite that lock keeps a second server out, whose caches would know
	// nothing of the first one's changes. The files themselves SQLite guards
	// between processes: a short transaction from here waits for the server's and
	// the server's for it, and a process that is killed in the middle of one leaves
	// nothing. So a rotation needs no help of the server, and is the same program
	// on both databases.
	Beside bool
	// CacheAccounts bounds the accounts held in memory; zero is 20,000.
	CacheAccounts int
	// Committed, when set, is told of each commit of decisions.
	Committed func(decisions int, took time.Duration, err error)
	// Commit, when set, is handed the commit of each write to carry out: tests
	// have it fail, or succeed and nobody learn of it.
	Commit func(commit func() error) error
}

const (
	defaultMaxConns      = 16
	defaultCacheAccounts = 20_000
)

// Store is an open database with its caches.
type Store struct {
	options Options
	clock   clock.Clock
	elapsed clock.Clock
	log     *slog.Logger
	engine  engine

	changes        *changes
	principals     *snapshots[packedPrincipal]
	unpacked       *unpacked
	keyOwners      *snapshots[keyOwner]
	byID           *resourceServers
	byAudience     *resourceServers
	grants         *grantPool
	revocations    *revocations
	uses           *uses
	permissionUses *permissionUses
	usesAreMany    chan struct{} // see wakeForUses
	chain          string        // of this process run

	views, writers chan struct{} // a place for each that may run at once

	committer  *audit.Committer[*Issuance]
	background context.CancelFunc
	running    sync.WaitGroup
	closeOnce  sync.Once
	closeError error

	readHeadRow string // a statement
	reads       accountReads

	migrationPoint func(name string) // tests stop a migration here
}

// engine is what the two databases do differently.
type engine interface {
	// writer and reader are pools; PostgreSQL has one for both. The pool of the
	// follower is its own there, so that no load delays a revocation.
	writer() *bun.DB
	reader() *bun.DB
	followerReader() *bun.DB
	dialect() string
	// serialize makes the transaction the only writer of management data, on
	// all nodes, until it ends.
	serialize(ctx context.Context, tx bun.Tx) error
	// lockSchema makes this process the only one that migrates.
	lockSchema(ctx context.Context) (unlock func() error, err error)
	// announce wakes the followers of other nodes when the transaction commits.
	announce(ctx context.Context, tx bun.Tx) error
	// follow runs catchUp whenever other nodes may have changed something,
	// until ctx ends. On a database with one process it only waits.
	follow(ctx context.Context, f follower)
	// roomForViews is how many Views may run at once and leave connections for
	// the token path.
	roomForViews() int
	// prepare readies the statements of the hot path, once the schema is there.
	prepare(ctx context.Context) error
	// appendLinks inserts the links of a chain and moves its head behind them,
	// unless it is not where the first link expects it.
	appendLinks(ctx context.Context, tx bun.Tx, links []audit.Link, at int64) (moved bool, err error)
	// placeholders appends the parameters first … first+n-1, separated by commas.
	placeholders(b []byte, first, n int) []byte
	// integrity asks the database for what it knows to be broken in itself.
	integrity(ctx context.Context) error
	// forUpdate ends a SELECT whose row no other transaction may change.
	forUpdate() string
	// labelMatch is the condition that a label (key, value) is among the labels.
	labelMatch() string
	// bytesMatch is the condition that bytes (column, part) have a part.
	bytesMatch() string
	// template fills in the migrations.
	template(ctx context.Context) words
	close() error
}

// Open opens the database, refuses one that would lose acknowledged commits,
// and on SQLite takes the lock of the file. It neither migrates nor starts
// anything: see [Store.Migrate] and [Store.Start].
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Clock == nil {
		return nil, errors.New("store: Options.Clock is missing")
	}
	if o.Elapsed == nil {
		o.Elapsed = clock.System()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.MaxConns <= 0 {
		o.MaxConns = defaultMaxConns
	}
	if o.CacheAccounts <= 0 {
		o.CacheAccounts = defaultCacheAccounts
	}
	e, err := openEngine(ctx, &o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		options: o, clock: o.Clock, elapsed: o.Elapsed, log: o.Log, engine: e,
		chain:          audit.NewChain(o.Clock.Now()),
		grants:         newGrantPool(),
		unpacked:       newUnpacked(),
		revocations:    newRevocations(),
		uses:           newUses(o.CacheAccounts),
		permissionUses: newPermissionUses(o.CacheAccounts),
		usesAreMany:    make(chan struct{}, 1),
	}
	s.views, s.writers = make(chan struct{}, e.roomForViews()), make(chan struct{}, maxWriters)
	s.readHeadRow = headQuery(e)
	s.principals = newSnapshots(o.Elapsed, o.CacheAccounts, s.loadPrincipal, packedPrincipal.id)
	s.principals.keep = new(shelf).principal
	s.keyOwners = newSnapshots(o.Elapsed, maxKeyOwners, s.loadKeyOwner, func(k keyOwner) string { return k.mac })
	s.byID = newSnapshots(o.Elapsed, maxResourceServers, s.loadResourceServerByID, func(rs *identity.ResourceServer) string { return rs.ID })
	s.byAudience = newSnapshots(o.Elapsed, maxResourceServers, s.loadResourceServerByAudience, func(rs *identity.ResourceServer) string { return rs.Identifier })
	s.changes = newChanges(o.Elapsed, s.forget)
	return s, nil
}

func openEngine(ctx context.Context, o *Options) (engine, error) {
	switch scheme, rest, _ := strings.Cut(o.URL, ":"); scheme {
	case "sqlite":
		return openSQLite(ctx, rest, o)
	case "postgres", "postgresql":
		return openPostgres(ctx, o)
	default:
		return nil, fmt.Errorf("store: a database is postgres://… or sqlite:/absolute/path.db, not %q", scheme+":…")
	}
}

// Dialect is "sqlite" or "postgres", for messages and metrics.
func (s *Store) Dialect() string { return s.engine.dialect() }

// AuditChain is the id of the chain of this process run.
func (s *Store) AuditChain() string { return s.chain }

// How often the background work runs.
const (
	useInterval       = 5 * time.Second
	cleanUpInterval   = time.Minute
	backgroundTimeout = 10 * time.Second // of one piece of background work
)

// Start opens the audit chain, loads the revocations, and starts following the
// changes, batching last uses and committing issuance. Call it once, after the
// schema is up to date.
func (s *Store) Start(ctx context.Context) error {
	if s.options.ReadOnly || s.options.Beside {
		return errReadOnly
	}
	if err := errors.Join(s.engine.prepare(ctx), s.prepareAccountReads(ctx)); err != nil {
		return translate(err)
	}
	if err := s.openChain(ctx); err != nil {
		return err
	}
	if err := s.resync(ctx); err != nil {
		return err
	}
	s.committer = audit.NewCommitter(audit.CommitterOptions{
		Clock: s.elapsed, MaxBatch: maxBatch, Timeout: batchTimeout, Committed: s.options.Committed,
	}, s.commitBatch)

	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.background = cancel
	s.running.Go(func() { s.engine.follow(life, s) })
	s.running.Go(func() { s.every(life, useInterval, s.usesAreMany, "note last uses", s.flushUses) })
	s.running.Go(func() { s.every(life, dueInterval, nil, "announce ends that have come", s.announceDue) })
	s.running.Go(func() {
		s.every(life, cleanUpInterval, nil, "clean up", func(ctx context.Context) error {
			return s.Maintain(ctx, func(m *Maintenance) error { return m.CleanUp(ctx) })
		})
	})
	s.changes.follow(s.engine.dialect() == dialectPostgres)
	return nil
}

// every runs work at intervals, and when it is woken, until ctx ends. A failure
// is logged: the next round does what this one left.
func (s *Store) every(ctx context.Context, interval time.Duration, wake <-chan struct{}, what string, work func(context.Context) error) {
	ticker := s.elapsed.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
		case <-wake:
		}
		bounded, cancel := context.WithTimeout(ctx, backgroundTimeout)
		if err := work(bounded); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "background work failed", "work", what, "error", err)
		}
		cancel()
	}
}

// Close commits what waits, writes the last uses, ends the background work and
// lets go of the database. What ctx does not leave time for is given up, never
// acknowledged.
func (s *Store) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		var errs []error
		if s.committer != nil {
			errs = append(errs, s.committer.Close(ctx))
		}
		if s.background != nil {
			s.background()
			s.running.Wait()
			errs = append(errs, s.flushUses(ctx))
		}
		s.closeError = errors.Join(append(errs, s.engine.close())...)
	})
	return s.closeError
}

// Ready reports whether the store can answer right now: the database responds
// and the revocation state is fresh.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.Ping(ctx); err != nil {
		return err
	}
	return s.Fresh()
}
