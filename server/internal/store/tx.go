package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
)

// Reader reads. Each single-row method answers fault.NotFound for what is not
// there or has been deleted.
type Reader struct {
	store *Store
	db    bun.IDB
}

// Tx is one write transaction. It embeds a Reader that sees its own writes.
//
// Transactions run one after another, on PostgreSQL across all nodes: what a
// Tx has read stays true until it commits, so rules such as "never without an
// administrator" hold without further locks.
type Tx struct {
	*Reader
	Now time.Time // UTC, whole microseconds, fixed at begin

	events    []audit.Event
	changes   []change
	announced map[announcement]bool // what stands in changes
	wrote     bool
}

type announcement struct {
	kind ChangeKind
	ref  string
}

var errNoEvent = errors.New("store: a transaction wrote something and recorded no event")

// Audit queues the event. It gets its place in the chain when the transaction
// commits. An event without a time gets that of the transaction.
func (tx *Tx) Audit(e audit.Event) {
	if e.At.IsZero() {
		e.At = tx.Now
	}
	tx.events = append(tx.events, e)
}

// Changed announces a change to all nodes. The writers of Tx announce what
// they write; this is for what they cannot know.
func (tx *Tx) Changed(kind ChangeKind, id string) {
	if a := (announcement{kind, id}); !tx.announced[a] {
		if tx.announced == nil {
			tx.announced = map[announcement]bool{}
		}
		tx.announced[a] = true
		tx.changes = append(tx.changes, change{Kind: kind, Ref: id})
	}
}

// written notes that the transaction must not commit without an event.
func (tx *Tx) written(kind ChangeKind, id string) {
	tx.wrote = true
	tx.Changed(kind, id)
}

// InTx runs fn in one write transaction with one timestamp. What fn writes and
// the events it queues are committed together; having written something
// without an event is an error. When InTx returns nil, the commit is durable
// and the caches of this node no longer hold what it has changed.
//
// fn reads and writes through tx only: another call into the store would wait
// for a connection that this transaction may be the one to hold.
//
// An error means that nothing was committed, with one exception: Unavailable
// from the commit itself leaves the outcome unknown.
func (s *Store) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	var tx *Tx
	decided := false
	err := s.write(ctx, func(db bun.Tx) error {
		tx = &Tx{Reader: &Reader{s, db}, Now: s.now()}
		if err := fn(tx); err != nil {
			return err
		}
		decided = true
		if !tx.wrote && len(tx.events) == 0 && len(tx.changes) == 0 {
			return errNothing
		}
		if len(tx.events) == 0 {
			return fault.Internal(errNoEvent)
		}
		if err := s.insertChanges(ctx, db, tx.changes, tx.Now); err != nil {
			return err
		}
		return s.appendEvents(ctx, db, tx.events)
	})
	if decided { // else it was rolled back before anything could be committed
		s.settleChanges(tx.changes, err)
	}
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

// errNothing ends a transaction that has nothing to commit.
var errNothing = errors.New("store: nothing to commit")

// write is the frame of every serialized write transaction.
func (s *Store) write(ctx context.Context, fn func(db bun.Tx) error) error {
	if s.options.ReadOnly || s.options.Beside {
		return fault.Internal(errReadOnly)
	}
	return s.inTurn(ctx, fn)
}

func (s *Store) inTurn(ctx context.Context, fn func(db bun.Tx) error) error {
	// Writers take turns anyway. Waiting here, not on a connection, leaves the
	// pool to readers and to the token path.
	leave, err := enter(ctx, s.writers)
	if err != nil {
		return err
	}
	defer leave()
	return s.transact(ctx, s.engine.writer(), nil, func(db bun.Tx) error {
		if err := s.engine.serialize(ctx, db); err != nil {
			return err
		}
		return fn(db)
	})
}

// transact begins, runs fn and commits. errNothing and faults pass unchanged.
func (s *Store) transact(ctx context.Context, pool *bun.DB, o *sql.TxOptions, fn func(db bun.Tx) error) (err error) {
	db, err := pool.BeginTx(ctx, o)
	if err != nil {
		return translate(err)
	}
	committed := false
	defer func() {
		if !committed { // an error, or a panic that is on its way to the edge
			_ = db.Rollback() // nothing is lost: what was not committed does not exist
		}
	}()
	if err := fn(db); err != nil {
		if errors.Is(err, errNothing) {
			return err
		}
		return settled(translate(err))
	}
	// A crash before this line leaves nothing; after it, everything.
	commit := db.Commit
	if s.options.Commit != nil && o == nil { // a View has nothing to commit
		commit = func() error { return s.options.Commit(db.Commit) }
	}
	err = commit()
	committed = err == nil
	return settled(translate(err))
}

// View runs fn on one consistent state of the database.
func (s *Store) View(ctx context.Context, fn func(r *Reader) error) error {
	leave, err := enter(ctx, s.views)
	if err != nil {
		return err
	}
	defer leave()
	o := &sql.TxOptions{ReadOnly: true, Isolation: sql.LevelRepeatableRead}
	return s.transact(ctx, s.engine.reader(), o, func(db bun.Tx) error {
		return fn(&Reader{s, db})
	})
}

// maxWriters is how many transactions of this node compete for the turn: one
// has it, one is ready to take it.
const maxWriters = 2

// enter waits for a place, as long as ctx allows.
func enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, fault.Unavailable(context.Cause(ctx))
	}
}

// now is the time as it is stored.
func (s *Store) now() time.Time { return s.clock.Now().UTC().Truncate(time.Microsecond) }
