package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// aheadRow is an end that was brought forward and has not come yet.
type aheadRow struct {
	bun.BaseModel `bun:"table:revocations_ahead"`

	Kind      string `bun:",pk"`
	Ref       string `bun:",pk"`
	DueAt     int64
	ExpiresAt int64
}

const (
	// dueInterval is how late an end that was brought forward is announced.
	dueInterval = time.Second
	duePage     = 500
)

// endMoved notes that a credential or an account now ends at the given time
// (zero: never). Nothing is issued beyond the end of what it rests on, but what
// was issued before the end was moved may be dated beyond it: verifiers, who
// know only exp, are told when the end comes. What was noted before is void.
func (tx *Tx) endMoved(ctx context.Context, kind identity.RevocationKind, id string, end time.Time) error {
	tx.wrote = true
	if _, err := tx.db.NewDelete().Model((*aheadRow)(nil)).Where("kind = ?", string(kind)).Where("ref = ?", id).Exec(ctx); err != nil {
		return translate(err)
	}
	last := tx.Now.Add(identity.RevocationLife) // of what has been issued so far
	if end.IsZero() || end.After(last) {
		return nil
	}
	if kind == identity.RevokedCredential && !end.After(tx.Now) {
		return tx.revoked(ctx, kind, id, 0)
	}
	_, err := tx.db.NewInsert().Model(&aheadRow{Kind: string(kind), Ref: id, DueAt: micros(end), ExpiresAt: micros(last)}).Exec(ctx)
	return translate(err)
}

// announceDue announces the ends that have come. Every node looks; who comes
// second finds nothing.
func (s *Store) announceDue(ctx context.Context) error {
	for {
		var due int
		err := s.engine.reader().NewSelect().Model((*aheadRow)(nil)).ColumnExpr("COUNT(*)").
			Where("due_at <= ?", micros(s.now())).Scan(ctx, &due)
		if err != nil || due == 0 {
			return translate(err)
		}
		var list []change
		err = s.write(ctx, func(db bun.Tx) (err error) {
			now := s.now()
			if list, err = takeDue(ctx, db, now); err != nil {
				return err
			}
			return s.insertChanges(ctx, db, list, now)
		})
		s.settleChanges(list, err)
		if err != nil {
			return err
		}
	}
}

// takeDue turns ends that have come into revocations. A crash before the commit
// leaves them for the next look.
func takeDue(ctx context.Context, db bun.Tx, now time.Time) (list []change, err error) {
	var rows []aheadRow
	if err := db.NewSelect().Model(&rows).Where("due_at <= ?", micros(now)).Order("due_at").Limit(duePage).Scan(ctx); err != nil {
		return nil, translate(err)
	}
	for i := range rows {
		row := &rows[i]
		r := &identity.Revocation{
			Kind: identity.RevocationKind(row.Kind), ID: row.Ref, RevokedAt: now, ExpiresAt: fromMicros(row.ExpiresAt),
		}
		stands := true
		if r.Kind == identity.RevokedServiceAccount {
			if r.Gen, stands, err = endedGeneration(ctx, db, row.Ref); err != nil {
				return nil, err
			}
		}
		if !stands || !now.Before(r.ExpiresAt) {
			if _, err := db.NewDelete().Model(row).WherePK().Exec(ctx); err != nil {
				return nil, translate(err)
			}
			continue
		}
		if err := putRevocation(ctx, db, r); err != nil {
			return nil, err
		}
		kind, ref := announceRevocation(r)
		list = append(list, change{Kind: kind, Ref: ref})
	}
	return list, nil
}

// endedGeneration is the generation below which the tokens of an account that
// has expired are dead: the next one. The account takes it on when it gets a
// later end. A deleted account has been announced.
func endedGeneration(ctx context.Context, db bun.IDB, id string) (gen int64, living bool, err error) {
	row := new(accountRow)
	err = one(db.NewSelect().Model(row).Column("gen").Where("id = ?", id).Where("deleted_at = 0").Scan(ctx), whatAccount)
	if fault.Is(err, fault.CodeNotFound) {
		return 0, false, nil
	}
	return row.Gen + 1, true, err
}

// announcedGeneration is what the next generation of an account must be at
// least, given that verifiers may have been told that the present one is dead.
func (tx *Tx) announcedGeneration(ctx context.Context, id string, gen int64) (int64, error) {
	r, err := tx.Revocation(ctx, identity.RevokedServiceAccount, id)
	if fault.Is(err, fault.CodeNotFound) {
		return gen, nil
	}
	if err != nil {
		return 0, err
	}
	return max(gen, r.Gen), nil
}
