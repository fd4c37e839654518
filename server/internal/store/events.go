package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
)

// The hottest write. It is built by hand and prepared once, on both databases:
// bun would write the values of 256 events as literals, and the database would
// parse them.
const (
	eventColumns     = "chain, seq, at, type, outcome, reason, actor, account_id, subject, canonical, hash"
	eventColumnCount = 11
)

// sqliteInserts are INSERTs of 1, 2, 4 … 256 events: any batch is a sum of few.
type sqliteInserts [9]*sql.Stmt

func (e *sqliteEngine) prepare(ctx context.Context) error {
	for i := range e.inserts {
		stmt, err := e.w.DB.PrepareContext(ctx, insertOf(e, 1<<i))
		if err != nil {
			return err
		}
		e.inserts[i] = stmt
	}
	return nil
}

// insertOf is an INSERT of n events.
func insertOf(e engine, n int) string {
	b := append(make([]byte, 0, 128+n*eventColumnCount*5), "INSERT INTO audit_events ("+eventColumns+") VALUES "...)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '(')
		b = e.placeholders(b, i*eventColumnCount+1, eventColumnCount)
		b = append(b, ')')
	}
	return string(b)
}

func (e *sqliteEngine) appendLinks(ctx context.Context, db bun.Tx, links []audit.Link, at int64) (moved bool, err error) {
	if err := e.insertEvents(ctx, db, links); err != nil {
		return false, err
	}
	last := &links[len(links)-1]
	result, err := db.Tx.ExecContext(ctx, "UPDATE audit_chains SET seq = ?, hash = ?, updated_at = ? WHERE id = ? AND seq = ?",
		last.Seq, last.Hash[:], at, last.Chain, links[0].Seq-1)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

func (e *sqliteEngine) insertEvents(ctx context.Context, db bun.Tx, links []audit.Link) error {
	args := make([]any, 0, min(len(links), 1<<(len(e.inserts)-1))*eventColumnCount)
	for i := len(e.inserts) - 1; i >= 0; {
		n := 1 << i
		if n > len(links) {
			i--
			continue
		}
		args = args[:0]
		for j := range links[:n] {
			l := &links[j]
			ev := &l.Event
			args = append(args, l.Chain, l.Seq, micros(ev.At), string(ev.Type), string(ev.Outcome), ev.Reason, ev.Actor,
				ev.AccountID, ev.Subject, l.Canonical, l.Hash[:])
		}
		var err error
		if e.inserts[i] != nil {
			_, err = db.StmtContext(ctx, e.inserts[i]).ExecContext(ctx, args...)
		} else { // before Start
			_, err = db.Tx.ExecContext(ctx, insertOf(e, n), args...)
		}
		if err != nil {
			return err
		}
		links = links[n:]
	}
	return nil
}

// postgresAppend moves the head and inserts in one statement, which saves a round
// trip while the head is locked. It takes each column as one array, so that it
// is the same for every size of a batch, and small. Where the head is not where
// it was read, nothing is inserted.
const postgresAppend = "WITH moved AS (UPDATE audit_chains SET seq = $2, hash = $3, updated_at = $4 WHERE id = $1 AND seq = $5 RETURNING id)" +
	" INSERT INTO audit_events (" + eventColumns + ") SELECT moved.id, link.* FROM moved, unnest(" +
	"$6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bytea[], $15::bytea[]) AS link"

func (e *postgresEngine) prepare(ctx context.Context) (err error) {
	e.append, err = e.db.DB.PrepareContext(ctx, postgresAppend)
	return err
}

func (e *postgresEngine) appendLinks(ctx context.Context, db bun.Tx, links []audit.Link, at int64) (moved bool, err error) {
	n := len(links)
	words := func(of func(ev *audit.Event) string) []string {
		column := make([]string, n)
		for i := range links {
			column[i] = of(&links[i].Event)
		}
		return column
	}
	seqs, times := make([]int64, n), make([]int64, n)
	canonical, hashes := make([][]byte, n), make([][]byte, n)
	for i := range links {
		l := &links[i]
		seqs[i], times[i], canonical[i], hashes[i] = l.Seq, micros(l.Event.At), l.Canonical, l.Hash[:]
	}
	last := &links[n-1]
	args := []any{
		last.Chain, last.Seq, last.Hash[:], at, links[0].Seq - 1,
		seqs, times,
		words(func(ev *audit.Event) string { return string(ev.Type) }),
		words(func(ev *audit.Event) string { return string(ev.Outcome) }),
		words(func(ev *audit.Event) string { return ev.Reason }),
		words(func(ev *audit.Event) string { return ev.Actor }),
		words(func(ev *audit.Event) string { return ev.AccountID }),
		words(func(ev *audit.Event) string { return ev.Subject }),
		canonical, hashes,
	}
	var result sql.Result
	if e.append != nil {
		result, err = db.StmtContext(ctx, e.append).ExecContext(ctx, args...)
	} else { // before Start
		result, err = db.Tx.ExecContext(ctx, postgresAppend, args...)
	}
	if err != nil {
		return false, err
	}
	inserted, err := result.RowsAffected()
	return inserted == int64(n), err
}

// storeLinks inserts links and moves the head, which must be where it was read.
//
// Whatever the database has against an event, the caller did nothing wrong and
// nothing is changed: that is Unavailable, and passes when the database takes
// events again.
func (s *Store) storeLinks(ctx context.Context, db bun.Tx, links []audit.Link) error {
	moved, err := s.engine.appendLinks(ctx, db, links, micros(s.now()))
	if err != nil {
		return fault.Unavailable(err)
	}
	if !moved {
		return fmt.Errorf("store: the head of chain %s is not where it was read", s.chain)
	}
	return nil
}

// headQuery reads the head of a chain, and locks it.
func headQuery(e engine) string {
	return "SELECT seq, hash FROM audit_chains WHERE id = " + string(e.placeholders(nil, 1, 1)) + e.forUpdate()
}
