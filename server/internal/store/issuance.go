package store

import (
	"context"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/audit"
)

const (
	// maxBatch is how many decisions one transaction records.
	maxBatch = 256
	// batchTimeout bounds one transaction; those who wait have deadlines of
	// their own, which are usually nearer.
	batchTimeout = 3 * time.Second
)

// Issuance is one decision of the token endpoint, recorded before it is answered.
type Issuance struct {
	Event            audit.Event
	AccountID        string // "" when no known account is concerned: never stale
	ResourceServerID string // "" when none was reached
	Snapshot         int64  // from [Store.Snapshot], taken before deciding

	Arrival *audit.Arrival // from [Store.Announce], or nil
}

// ErrStale means that something the decision rests on has changed since its
// snapshot. Nothing was recorded: decide again, from a new snapshot.
var ErrStale = errors.New("store: the decision rests on what has changed since")

// Announce tells that a decision is on its way to [Store.Record], so that the
// batch which is being gathered waits a moment for it. Call it early in the
// request, put it into Issuance.Arrival, and defer its Leave.
func (s *Store) Announce() *audit.Arrival {
	if s.committer == nil {
		return nil
	}
	return s.committer.Announce()
}

// Record puts the decision on record, together with those of concurrent
// requests, and returns once it is durable. After any error the caller must not
// hand out what was decided.
func (s *Store) Record(ctx context.Context, i Issuance) error {
	if s.committer == nil {
		return errNotStarted
	}
	if i.Event.At.IsZero() {
		i.Event.At = s.now()
	}
	// One bad event must not fail the batch that it travels in.
	if err := i.Event.Validate(); err != nil {
		return err
	}
	return s.committer.Submit(ctx, &i, i.Arrival)
}

// commitBatch records a batch. In this order:
//
//  1. lock the head of the chain: on this node, nothing can be changed from
//     here until the commit, since a change needs the same head for its event;
//  2. read the changes that are newer than the oldest snapshot in the batch,
//     and leave out the decisions that they touch;
//  3. give the others their places, insert them, move the head, commit.
//
// A crash before the commit leaves nothing, and nobody was answered; a crash
// after it leaves events of tokens that were perhaps never handed out.
func (s *Store) commitBatch(ctx context.Context, batch []*Issuance, outcomes []error) error {
	var newer []change
	var lost bool
	err := s.transact(ctx, s.engine.writer(), nil, func(db bun.Tx) error {
		head, err := s.lockHead(ctx, db)
		if err != nil {
			return err
		}
		if oldest, some := oldestSnapshot(batch); some {
			if newer, lost, err = changesAfter(ctx, db, oldest); err != nil {
				return err
			}
		}
		events := make([]audit.Event, 0, len(batch))
		for n, i := range batch {
			if i.stale(newer, lost || len(newer) >= changesPage-1) {
				outcomes[n] = ErrStale
				continue
			}
			events = append(events, i.Event)
		}
		if len(events) == 0 {
			return errNothing
		}
		return s.extendChain(ctx, db, head, events)
	})
	// What was read is committed, whatever became of the batch. Applying it
	// before the answer gives those who decide again a newer snapshot.
	s.changes.apply(ctx, newer)
	if lost {
		err = errors.Join(err, s.catchUp(ctx))
	}
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

func oldestSnapshot(batch []*Issuance) (oldest int64, some bool) {
	for _, i := range batch {
		if i.AccountID != "" && (!some || i.Snapshot < oldest) {
			oldest, some = i.Snapshot, true
		}
	}
	return oldest, some
}

// stale reports whether any of the changes that came after the snapshot may
// have decided otherwise. unsure means that there are more than were read.
func (i *Issuance) stale(newer []change, unsure bool) bool {
	if i.AccountID == "" {
		return false
	}
	if unsure {
		return true
	}
	for n := range newer {
		if c := &newer[n]; c.ID > i.Snapshot && i.touchedBy(c) {
			return true
		}
	}
	return false
}

func (i *Issuance) touchedBy(c *change) bool {
	switch c.Kind {
	case ChangedServiceAccount:
		return c.Ref == i.AccountID
	case ChangedResourceServer:
		return c.Ref == i.ResourceServerID
	case ChangedTokenRevoked, ChangedRevoked:
		return false // other tokens do not depend on it, or on the change that came with it
	default:
		return true // a role may be anybody's, a signing key is everybody's
	}
}
