package store

import (
	"context"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
)

// Maintenance writes what no event records, because it is no decision: last
// uses, checkpoints of the audit log, and the removal of what has expired. The
// list of its tables is closed: last_used_at of secrets and keys,
// permission_uses, audit_checkpoints, token_revocations, revocations,
// revocations_ahead, changes, idempotency_keys.
type Maintenance struct {
	Now time.Time

	store *Store
	db    bun.Tx
}

// Maintain runs fn in one transaction that needs no event.
func (s *Store) Maintain(ctx context.Context, fn func(m *Maintenance) error) error {
	return s.write(ctx, func(db bun.Tx) error {
		return fn(&Maintenance{Now: s.now(), store: s, db: db})
	})
}

type checkpointRow struct {
	bun.BaseModel `bun:"table:audit_checkpoints"`

	Seq    int64 `bun:",pk"`
	ID     string
	At     int64
	Hash   []byte
	Signed string
}

func (r *checkpointRow) checkpoint() (audit.SignedCheckpoint, error) {
	c := audit.SignedCheckpoint{ID: r.ID, Seq: r.Seq, At: fromMicros(r.At), Signed: r.Signed}
	if copy(c.Hash[:], r.Hash) != len(c.Hash) || len(r.Hash) != len(c.Hash) {
		return c, fault.Internal(errSizeOf("hash", r.ID))
	}
	return c, nil
}

// Heads are the chains that moved at the given time or later (zero: all), in
// the order of ids.
func (m *Maintenance) Heads(ctx context.Context, since time.Time) ([]audit.Head, error) {
	var rows []chainRow
	err := m.db.NewSelect().Model(&rows).Where("updated_at >= ?", micros(since)).Order("id").Scan(ctx)
	if err != nil {
		return nil, translate(err)
	}
	heads := make([]audit.Head, len(rows))
	for i := range rows {
		if heads[i], err = rows[i].head(); err != nil {
			return nil, err
		}
	}
	return heads, nil
}

// LastCheckpoint is the zero value when there is none yet.
func (m *Maintenance) LastCheckpoint(ctx context.Context) (audit.SignedCheckpoint, error) {
	var rows []checkpointRow
	if err := m.db.NewSelect().Model(&rows).Order("seq DESC").Limit(1).Scan(ctx); err != nil {
		return audit.SignedCheckpoint{}, translate(err)
	}
	if len(rows) == 0 {
		return audit.SignedCheckpoint{}, nil
	}
	return rows[0].checkpoint()
}

// InsertCheckpoint adds a checkpoint. Conflict when its place is taken.
func (m *Maintenance) InsertCheckpoint(ctx context.Context, c audit.SignedCheckpoint) error {
	row := checkpointRow{Seq: c.Seq, ID: c.ID, At: micros(c.At), Hash: c.Hash[:], Signed: c.Signed}
	_, err := m.db.NewInsert().Model(&row).Exec(ctx)
	if err = translate(err); errors.As(err, new(uniqueViolation)) {
		return fault.New(fault.KindConflict, fault.CodePreconditionFailed, "another checkpoint has that place already").Because(err)
	}
	return err
}

// CleanUp removes revocations whose tokens have all expired, which need no
// revocation any more, changes that every node has read or will never need, and
// idempotency keys of yesterday's requests, which nobody sends again. The last
// change stays: it tells where the ids continue. The store itself calls it every
// minute once started.
func (m *Maintenance) CleanUp(ctx context.Context) error {
	expired := m.Now.Add(-revocationGrace)
	for _, model := range []any{(*tokenRevocationRow)(nil), (*revocationRow)(nil)} {
		if _, err := m.db.NewDelete().Model(model).Where("expires_at < ?", micros(expired)).Exec(ctx); err != nil {
			return translate(err)
		}
	}
	if _, err := m.db.NewDelete().Model((*change)(nil)).Where("at < ?", micros(m.Now.Add(-changesRetained))).
		Where("id < (SELECT MAX(id) FROM changes)").Exec(ctx); err != nil {
		return translate(err)
	}
	if _, err := m.db.NewDelete().Model((*idempotencyRow)(nil)).
		Where("created_at <= ?", micros(m.Now.Add(-idempotencyRetained))).Exec(ctx); err != nil {
		return translate(err)
	}
	m.store.revocations.drop(expired)
	return nil
}

// revocationGrace keeps a revocation for longer than the clock of any node may
// be off: one that is an hour ahead must not clean up for the others.
const revocationGrace = 2 * time.Hour
