package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	changesChannel = "marque_changes"
	// pollInterval is how late a change is seen when its notification is lost.
	pollInterval = 500 * time.Millisecond
	pollTimeout  = 2 * time.Second
)

var errNotFresh = errors.New("store: the changes of other nodes have not been read for more than 5 s")

// follower is what an engine calls while it follows the changes.
type follower interface {
	readOn(ctx context.Context) (lost bool, err error)
	resync(ctx context.Context) error
	lostTouch(err error)
	wait(ctx context.Context, d time.Duration)
}

// follow listens on a connection of its own, so that neither a busy pool nor
// a slow query delays a revocation. After each wake-up, and at the latest
// after the poll interval, it reads on. A connection that fails is replaced.
func (e *postgresEngine) follow(ctx context.Context, f follower) {
	for ctx.Err() == nil {
		if err := e.listen(ctx, f); err != nil && ctx.Err() == nil {
			f.lostTouch(err)
			f.wait(ctx, pollInterval)
		}
	}
}

func (e *postgresEngine) listen(ctx context.Context, f follower) error {
	c, err := pgx.ConnectConfig(ctx, e.config.Copy())
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pollTimeout)
		defer cancel()
		_ = c.Close(ctx) // the server notices by itself
	}()
	if err := bounded(ctx, func(ctx context.Context) error {
		_, err := c.Exec(ctx, "LISTEN "+changesChannel)
		return err
	}); err != nil {
		return err
	}
	for {
		// Reading on comes first: a change committed before LISTEN took effect
		// sends no notification here.
		lost := false
		err := bounded(ctx, func(ctx context.Context) (err error) {
			lost, err = f.readOn(ctx)
			return err
		})
		if err == nil && lost {
			err = f.resync(ctx) // reads tables, and takes its time
		}
		if err != nil {
			return err
		}
		waiting, cancel := context.WithTimeout(ctx, pollInterval)
		_, err = c.WaitForNotification(waiting)
		timeout := waiting.Err() != nil
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !timeout || c.IsClosed() {
			return errors.Join(errors.New("store: the listening connection has failed"), err)
		}
	}
}

func bounded(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	return fn(ctx)
}

// catchUp applies all changes that this node has not seen, wherever it stands.
func (s *Store) catchUp(ctx context.Context) error {
	for {
		if lost, err := s.readOn(ctx); err != nil || !lost {
			return err
		}
		if err := s.resync(ctx); err != nil {
			return err
		}
	}
}

// readOn applies all changes that this node has not seen, unless its place is
// lost.
func (s *Store) readOn(ctx context.Context) (lost bool, err error) {
	for {
		began := s.elapsed.Now()
		list, lost, err := changesAfter(ctx, s.engine.followerReader(), s.Snapshot())
		if err != nil || lost {
			return lost, err
		}
		s.changes.apply(ctx, list)
		if len(list) < changesPage-1 {
			s.changes.seen(began)
			return false, nil
		}
	}
}

// resync gives up the place in the changes and starts anew: empty caches, all
// revocations from their table. The position is read first, so that whatever
// is committed while the tables are read will be applied once more.
func (s *Store) resync(ctx context.Context) error {
	to, err := s.recent(ctx)
	if err != nil {
		return translate(err)
	}
	if err := s.loadRevocations(ctx); err != nil {
		return translate(err)
	}
	s.forgetAll()
	s.changes.jump(ctx, to)
	return nil
}

func (s *Store) lostTouch(err error) {
	s.log.Warn("the changes of other nodes cannot be read; trying again", "error", err)
}

// wait waits on the clock that measures waiting, or until ctx ends.
func (s *Store) wait(ctx context.Context, d time.Duration) {
	timer := s.elapsed.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.Chan():
	}
}

// settleChanges follows an own transaction. After a failed commit its outcome
// may be unknown, so what it would have changed is dropped too; if it was
// committed, its rows will be read from the table.
func (s *Store) settleChanges(list []change, err error) {
	if len(list) == 0 {
		return
	}
	if err != nil {
		s.forget(list)
		return
	}
	s.changes.apply(context.Background(), list)
}
