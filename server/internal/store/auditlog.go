package store

import (
	"context"
	"iter"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
)

type eventRow struct {
	bun.BaseModel `bun:"table:audit_events,alias:audit_events"`

	Chain     string `bun:",pk"`
	Seq       int64  `bun:",pk"`
	At        int64
	Type      string
	Outcome   string
	Reason    string
	Actor     string
	AccountID string
	Subject   string
	Canonical []byte
	Hash      []byte
}

// link is the row as it is stored: columns as they are, the rest of the event
// from the canonical bytes. Prev is not in the row.
func (r *eventRow) link() (audit.Link, error) {
	l := audit.Link{Chain: r.Chain, Seq: r.Seq, Canonical: r.Canonical}
	if copy(l.Hash[:], r.Hash) != len(l.Hash) || len(r.Hash) != len(l.Hash) {
		return l, fault.Internal(errSizeOf("hash", r.Chain))
	}
	// Bytes that cannot be read are for the verification to report; the columns
	// are still there.
	_, _, l.Event, _ = audit.Decode(r.Canonical)
	e := &l.Event
	e.At, e.Type, e.Outcome = time.UnixMicro(r.At).UTC(), audit.Type(r.Type), audit.Outcome(r.Outcome)
	e.Reason, e.Actor, e.AccountID, e.Subject = r.Reason, r.Actor, r.AccountID, r.Subject
	return l, nil
}

// AuditPosition is a place in the record: chains in the order of their ids,
// which is that of their opening, and events of a chain in the order of seq.
type AuditPosition struct {
	Chain string
	Seq   int64
}

// AuditPage asks for the events behind a position. The zero position is the
// beginning or, newest first, the end.
type AuditPage struct {
	Size   int
	After  AuditPosition
	Newest bool // newest first
}

// auditScan is how many rows one call looks at. The table has no index but its
// place in the record, so that a rare event is found over several short calls
// rather than by one that takes the database away from everybody.
const auditScan = 20_000

// AuditEvents lists events. next is nil at the end; a page may be short, or
// even empty, and still have a next one.
func (r *Reader) AuditEvents(ctx context.Context, f audit.Filter, p AuditPage) (items []audit.Link, next *AuditPosition, err error) {
	if err := storable(f.Chain, f.AccountID, f.Actor, p.After.Chain); err != nil {
		return nil, nil, err
	}
	size := max(p.Size, 1)
	window := r.auditWindow(f, p)
	var rows []eventRow
	q := r.db.NewSelect().Model(&rows).ModelTableExpr("(?) AS audit_events", window).OrderExpr(auditOrder(p)).Limit(int64(size))
	if err := auditFilter(q, f).Scan(ctx); err != nil {
		return nil, nil, translate(err)
	}
	for i := range rows {
		l, err := rows[i].link()
		if err != nil {
			return nil, nil, err
		}
		items = append(items, l)
	}
	if len(items) == size {
		last := &items[size-1]
		return items, &AuditPosition{last.Chain, last.Seq}, nil
	}
	// Fewer than asked for: everything in the window was looked at.
	var end []AuditPosition
	err = r.auditWindow(f, p).Offset(auditScan-1).Limit(1).Scan(ctx, &end)
	if err != nil || len(end) == 0 {
		return items, nil, translate(err)
	}
	return items, &end[0], nil
}

// auditWindow are the rows that one call looks at.
func (r *Reader) auditWindow(f audit.Filter, p AuditPage) *bun.SelectQuery {
	q := r.db.NewSelect().Model((*eventRow)(nil)).OrderExpr(auditOrder(p)).Limit(auditScan)
	if f.Chain != "" {
		q = q.Where("chain = ?", f.Chain)
	}
	switch {
	case p.After == AuditPosition{}:
	case p.Newest:
		q = q.Where("(chain, seq) < (?, ?)", p.After.Chain, p.After.Seq)
	default:
		q = q.Where("(chain, seq) > (?, ?)", p.After.Chain, p.After.Seq)
	}
	return q
}

func auditOrder(p AuditPage) string {
	if p.Newest {
		return "chain DESC, seq DESC"
	}
	return "chain, seq"
}

// auditFilter is [audit.Filter.Matches] in SQL.
func auditFilter(q *bun.SelectQuery, f audit.Filter) *bun.SelectQuery {
	for _, c := range []struct{ column, value string }{
		{"chain", f.Chain}, {"type", string(f.Type)}, {"outcome", string(f.Outcome)},
		{"account_id", f.AccountID}, {"actor", f.Actor},
	} {
		if c.value != "" {
			q = q.Where("? = ?", bun.Ident(c.column), c.value)
		}
	}
	if !f.From.IsZero() {
		q = q.Where("at >= ?", ceilMicros(f.From))
	}
	if !f.To.IsZero() {
		q = q.Where("at < ?", ceilMicros(f.To))
	}
	return q
}

// ceilMicros is the first microsecond that is not before t.
func ceilMicros(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }

// AuditChains are the heads of the chains, in the order of ids.
func (r *Reader) AuditChains(ctx context.Context, p Page) (items []audit.Head, more bool, err error) {
	var rows []chainRow
	if err := p.cut(r.db.NewSelect().Model(&rows), "id").Scan(ctx); err != nil {
		return nil, false, translate(err)
	}
	return page(rows, p, (*chainRow).head)
}

// AuditSource is the whole record for [audit.Verify], without Open and Kept,
// which the caller adds. Use it within one View: it must be one state.
func (r *Reader) AuditSource(ctx context.Context) audit.Source {
	return audit.Source{
		Chains:      stream(ctx, r.db.NewSelect().Model((*chainRow)(nil)).Order("id"), (*chainRow).head),
		Links:       linked(stream(ctx, r.db.NewSelect().Model((*eventRow)(nil)).OrderExpr("chain, seq"), (*eventRow).link)),
		Checkpoints: stream(ctx, r.selectCheckpoints(), (*checkpointRow).checkpoint),
	}
}

// AuditLinks gives fn the events of one chain in order, as they are stored.
func (r *Reader) AuditLinks(ctx context.Context, chain string, fn func(audit.Link) error) error {
	q := r.db.NewSelect().Model((*eventRow)(nil)).Where("chain = ?", chain).Order("seq")
	return each(linked(stream(ctx, q, (*eventRow).link)), fn)
}

// Checkpoints gives fn all signed checkpoints in order.
func (r *Reader) Checkpoints(ctx context.Context, fn func(audit.SignedCheckpoint) error) error {
	return each(stream(ctx, r.selectCheckpoints(), (*checkpointRow).checkpoint), fn)
}

func (r *Reader) selectCheckpoints() *bun.SelectQuery {
	return r.db.NewSelect().Model((*checkpointRow)(nil)).Order("seq")
}

// linked fills in what no row holds: the hash that the row before it names.
func linked(rows iter.Seq2[audit.Link, error]) iter.Seq2[audit.Link, error] {
	return func(yield func(audit.Link, error) bool) {
		var before audit.Link
		for l, err := range rows {
			if err == nil && l.Chain == before.Chain {
				l.Prev = before.Hash
			}
			if !yield(l, err) {
				return
			}
			before = l
		}
	}
}

func each[T any](rows iter.Seq2[T, error], fn func(T) error) error {
	for v, err := range rows {
		if err == nil {
			err = fn(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stream reads row after row, without holding them all.
func stream[R, T any](ctx context.Context, q *bun.SelectQuery, convert func(*R) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		rows, err := q.Rows(ctx)
		if err != nil {
			yield(none, translate(err))
			return
		}
		defer func() { _ = rows.Close() }() // read to the end or given up: both leave nothing
		for rows.Next() {
			row := new(R)
			if err := q.DB().ScanRow(ctx, rows, row); err != nil {
				yield(none, translate(err))
				return
			}
			if v, err := convert(row); !yield(v, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(none, translate(err))
		}
	}
}
