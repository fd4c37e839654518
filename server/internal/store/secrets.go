package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

const whatSecret = "client secret"

type secretRow struct {
	bun.BaseModel `bun:"table:client_secrets"`

	ID               string `bun:",pk"`
	ServiceAccountID string
	Hint             string
	MAC              []byte `bun:"mac"`
	ReplacedBy       string
	ExpiresAt        int64
	CreatedAt        int64
	LastUsedAt       int64
	DeletedAt        int64
}

func (r *secretRow) secret() (identity.ClientSecret, error) {
	c := identity.ClientSecret{
		ID: r.ID, ServiceAccountID: r.ServiceAccountID, Hint: r.Hint, ReplacedBy: r.ReplacedBy,
		ExpiresAt: fromMicros(r.ExpiresAt), CreatedAt: fromMicros(r.CreatedAt), LastUsedAt: fromMicros(r.LastUsedAt),
	}
	if copy(c.MAC[:], r.MAC) != len(c.MAC) || len(r.MAC) != len(c.MAC) {
		return c, fault.Internal(errSizeOf("mac", r.ID))
	}
	return c, nil
}

// ClientSecret is an undeleted secret of the account, live or expired.
func (r *Reader) ClientSecret(ctx context.Context, accountID, id string) (*identity.ClientSecret, error) {
	if !known(accountID) || !known(id) {
		return nil, fault.NotFound(whatSecret)
	}
	row := new(secretRow)
	err := r.db.NewSelect().Model(row).
		Where("id = ?", id).Where("service_account_id = ?", accountID).Where("deleted_at = 0").Scan(ctx)
	if err != nil {
		return nil, one(err, whatSecret)
	}
	c, err := row.secret()
	return &c, err
}

// ClientSecrets lists the undeleted secrets of an account.
func (r *Reader) ClientSecrets(ctx context.Context, accountID string, p Page) (items []identity.ClientSecret, more bool, err error) {
	if err := storable(accountID, p.After); err != nil {
		return nil, false, err
	}
	var rows []secretRow
	q := r.db.NewSelect().Model(&rows).Where("service_account_id = ?", accountID).Where("deleted_at = 0")
	if err := p.cut(q, "id").Scan(ctx); err != nil {
		return nil, false, translate(err)
	}
	return page(rows, p, (*secretRow).secret)
}

// CountClientSecrets counts the undeleted secrets of an account.
func (r *Reader) CountClientSecrets(ctx context.Context, accountID string) (int, error) {
	n, err := r.db.NewSelect().Model((*secretRow)(nil)).
		Where("service_account_id = ?", accountID).Where("deleted_at = 0").Count(ctx)
	return int(n), translate(err)
}

// InsertClientSecret adds a secret to a living account.
func (tx *Tx) InsertClientSecret(ctx context.Context, c *identity.ClientSecret) error {
	if err := storable(c.ID, c.ServiceAccountID, c.Hint); err != nil {
		return err
	}
	if _, err := tx.ServiceAccount(ctx, c.ServiceAccountID); err != nil {
		return err
	}
	c.CreatedAt = orNow(c.CreatedAt, tx.Now)
	row := secretRow{
		ID: c.ID, ServiceAccountID: c.ServiceAccountID, Hint: c.Hint, MAC: c.MAC[:], ReplacedBy: c.ReplacedBy,
		ExpiresAt: micros(c.ExpiresAt), CreatedAt: micros(c.CreatedAt), LastUsedAt: micros(c.LastUsedAt),
	}
	if _, err := tx.db.NewInsert().Model(&row).Exec(ctx); err != nil {
		return translate(err)
	}
	tx.written(ChangedServiceAccount, c.ServiceAccountID)
	return nil
}

// UpdateClientSecretExpiry sets or, with the zero time, removes the end of a secret.
func (tx *Tx) UpdateClientSecretExpiry(ctx context.Context, accountID, id string, expiresAt time.Time) error {
	err := tx.updateSecret(ctx, accountID, id, func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("expires_at = ?", micros(expiresAt))
	})
	if err != nil {
		return err
	}
	return tx.endMoved(ctx, identity.RevokedCredential, id, expiresAt)
}

// SetClientSecretSuccessor shortens the life of a secret that a rotation has
// replaced, and notes by which.
func (tx *Tx) SetClientSecretSuccessor(ctx context.Context, accountID, id, successor string, end time.Time) error {
	err := tx.updateSecret(ctx, accountID, id, func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("expires_at = ?", micros(end)).Set("replaced_by = ?", successor)
	})
	if err != nil {
		return err
	}
	return tx.endMoved(ctx, identity.RevokedCredential, id, end)
}

// DeleteClientSecret ends a secret for good, and with it the tokens that were
// issued for it. Those of one that has ended before are dead already.
func (tx *Tx) DeleteClientSecret(ctx context.Context, accountID, id string) error {
	c, err := tx.ClientSecret(ctx, accountID, id)
	if err != nil {
		return err
	}
	err = tx.updateSecret(ctx, accountID, id, func(q *bun.UpdateQuery) *bun.UpdateQuery {
		return q.Set("deleted_at = ?", micros(tx.Now))
	})
	if err != nil || !c.Live(tx.Now) {
		return err
	}
	return tx.revoked(ctx, identity.RevokedCredential, id, 0)
}

func (tx *Tx) updateSecret(ctx context.Context, accountID, id string, set func(*bun.UpdateQuery) *bun.UpdateQuery) error {
	if !known(accountID) || !known(id) {
		return fault.NotFound(whatSecret)
	}
	n, err := affected(ctx, set(tx.db.NewUpdate().Model((*secretRow)(nil))).
		Where("id = ?", id).Where("service_account_id = ?", accountID).Where("deleted_at = 0"))
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.NotFound(whatSecret)
	}
	tx.written(ChangedServiceAccount, accountID)
	return nil
}
