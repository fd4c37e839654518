package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
)

type chainRow struct {
	bun.BaseModel `bun:"table:audit_chains"`

	ID        string `bun:",pk"`
	Seq       int64
	Hash      []byte
	OpenedAt  int64
	UpdatedAt int64
}

func (r *chainRow) head() (audit.Head, error) {
	h := audit.Head{Chain: r.ID, Seq: r.Seq}
	if len(r.Hash) != len(h.Hash) {
		return h, fault.Internal(errSizeOf("hash", r.ID))
	}
	copy(h.Hash[:], r.Hash)
	return h, nil
}

// openChain makes the chain of this process run, with the event that opens it.
func (s *Store) openChain(ctx context.Context) error {
	return s.transact(ctx, s.engine.writer(), nil, func(db bun.Tx) error {
		_, err := s.lockHead(ctx, db)
		return err
	})
}

// lockHead reads the head of the chain and keeps others from appending until
// the transaction ends. It trusts no memory: after a commit whose outcome was
// unknown, the row tells what became of it. A chain that is not there yet is
// opened in the same transaction.
func (s *Store) lockHead(ctx context.Context, db bun.Tx) (audit.Head, error) {
	head, err := s.readHead(ctx, db)
	if !errors.Is(err, sql.ErrNoRows) {
		return head, err
	}
	now := s.now()
	row := chainRow{ID: s.chain, Hash: make([]byte, len(head.Hash)), OpenedAt: micros(now), UpdatedAt: micros(now)}
	if _, err := db.NewInsert().Model(&row).On("CONFLICT (id) DO NOTHING").Exec(ctx); err != nil {
		return head, err
	}
	if head, err = s.readHead(ctx, db); err != nil || head.Seq > 0 {
		return head, err // another transaction opened it meanwhile
	}
	link, err := audit.Genesis(s.chain, now, map[string]string{"database": s.engine.dialect()})
	if err != nil {
		return head, err
	}
	return link.Head(), s.storeLinks(ctx, db, []audit.Link{link})
}

func (s *Store) readHead(ctx context.Context, db bun.Tx) (audit.Head, error) {
	row := chainRow{ID: s.chain}
	if err := db.Tx.QueryRowContext(ctx, s.readHeadRow, s.chain).Scan(&row.Seq, &row.Hash); err != nil {
		return audit.Head{}, err
	}
	return row.head()
}

// appendEvents gives events their places behind the head.
func (s *Store) appendEvents(ctx context.Context, db bun.Tx, events []audit.Event) error {
	head, err := s.lockHead(ctx, db)
	if err != nil {
		return err
	}
	return s.extendChain(ctx, db, head, events)
}

// extendChain appends to a head that the transaction has locked.
func (s *Store) extendChain(ctx context.Context, db bun.Tx, head audit.Head, events []audit.Event) error {
	links := make([]audit.Link, 0, len(events))
	for _, e := range events {
		link, err := head.Next(e)
		if err != nil {
			return err
		}
		links = append(links, link)
		head = link.Head()
	}
	return s.storeLinks(ctx, db, links)
}
