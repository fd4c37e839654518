package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
)

const (
	// auditAround is how far from a moment its events are looked for: further
	// than any request lasts.
	auditAround = 65 * time.Second
	// auditBefore is how many rows before the place of the moment are looked at.
	// Events of one chain stand in the order of their commits, which is almost,
	// but not quite, that of their times.
	auditBefore = auditScan / 5
	// auditChainsNear bounds the chains that are searched: many more than nodes.
	auditChainsNear = 64
)

// EventOfRequest is the event that a request has left, on whichever node; made
// is when the request got its id.
func (r *Reader) EventOfRequest(ctx context.Context, requestID string, made time.Time) (*audit.Link, error) {
	if err := storable(requestID); err != nil {
		return nil, err
	}
	return r.eventNear(ctx, made, `"request_id":"`+requestID+`"`, func(e *audit.Event) bool { return e.RequestID == requestID })
}

// EventOfAccount is the event of a type that concerns an account and happened at
// exactly that time.
func (r *Reader) EventOfAccount(ctx context.Context, t audit.Type, accountID string, at time.Time) (*audit.Link, error) {
	if err := storable(accountID); err != nil {
		return nil, err
	}
	return r.eventNear(ctx, at, `"type":"`+string(t)+`"`, func(e *audit.Event) bool {
		return e.Type == t && e.AccountID == accountID && e.At.Equal(at)
	})
}

// eventNear finds an event near a moment whose canonical bytes have the mark. The
// table has no index but places: in each chain that was open then, the place of
// the moment is found by halving, and a bounded number of rows around it is
// looked at. Where a clock was set back it may miss one; it never reads the
// whole record.
func (r *Reader) eventNear(ctx context.Context, at time.Time, mark string, match func(*audit.Event) bool) (*audit.Link, error) {
	from, to := micros(at.Add(-auditAround)), micros(at.Add(auditAround))
	var chains []chainRow
	if err := r.db.NewSelect().Model(&chains).Where("opened_at <= ?", to).Where("updated_at >= ?", from).
		Order("id").Limit(auditChainsNear).Scan(ctx); err != nil {
		return nil, translate(err)
	}
	for i := range chains {
		place, err := r.placeOf(ctx, chains[i].ID, chains[i].Seq, micros(at))
		if err != nil {
			return nil, err
		}
		first := max(1, place-auditBefore)
		var rows []eventRow
		if err := r.db.NewSelect().Model(&rows).Where("chain = ?", chains[i].ID).
			Where("seq >= ?", first).Where("seq < ?", first+auditScan).
			Where("at >= ?", from).Where("at <= ?", to).
			Where(r.store.engine.bytesMatch(), bun.Ident("canonical"), []byte(mark)).Order("seq").Scan(ctx); err != nil {
			return nil, translate(err)
		}
		for j := range rows {
			l, err := rows[j].link()
			if err != nil {
				return nil, err
			}
			if match(&l.Event) {
				return &l, nil
			}
		}
	}
	return nil, fault.NotFound("audit event")
}

// placeOf is the place of the first event of a chain that is not before a time,
// or the place behind the last one.
func (r *Reader) placeOf(ctx context.Context, chain string, last, at int64) (int64, error) {
	low, high := int64(1), last+1
	for low < high {
		var found []struct{ Seq, At int64 }
		middle := low + (high-low)/2
		err := r.db.NewSelect().Model((*eventRow)(nil)).Column("seq", "at").Where("chain = ?", chain).
			Where("seq >= ?", middle).Order("seq").Limit(1).Scan(ctx, &found)
		if err != nil {
			return 0, translate(err)
		}
		if len(found) == 0 || found[0].At >= at {
			high = middle
		} else {
			low = found[0].Seq + 1
		}
	}
	return low, nil
}
