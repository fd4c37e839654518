package store

import (
	"context"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

const whatAccount = "service account"

type accountRow struct {
	bun.BaseModel `bun:"table:service_accounts"`

	ID                    string `bun:",pk"`
	Name                  string
	DisplayName           string
	Description           string
	Kind                  string
	Owner                 string
	Labels                string
	Status                string
	ExpiresAt             int64
	TokenLifetime         int64
	TokenRateLimit        int64
	DefaultResourceServer string
	AllowedNetworks       string
	AllowedCredentials    string
	Gen                   int64
	Version               int64
	CreatedAt             int64
	UpdatedAt             int64
	LastUsedAt            int64 // by a release that wrote it here; see fillLastUses
	DeletedAt             int64
}

func accountToRow(a *identity.ServiceAccount) *accountRow {
	return &accountRow{
		ID: a.ID, Name: a.Name, DisplayName: a.DisplayName, Description: a.Description,
		Kind: string(a.Kind), Owner: a.Owner, Labels: encodeLabels(a.Labels), Status: string(a.Status),
		ExpiresAt: micros(a.ExpiresAt), TokenLifetime: a.TokenLifetime.Microseconds(), TokenRateLimit: int64(a.TokenRateLimit),
		DefaultResourceServer: a.DefaultResourceServer, AllowedNetworks: encodeNetworks(a.AllowedNetworks),
		AllowedCredentials: encodeKinds(a.AllowedCredentials),
		Gen:                a.Gen, Version: a.Version, CreatedAt: micros(a.CreatedAt), UpdatedAt: micros(a.UpdatedAt),
		LastUsedAt: micros(a.LastUsedAt),
	}
}

func (r *accountRow) account() (identity.ServiceAccount, error) {
	labels, err := decodeLabels(r.Labels)
	if err != nil {
		return identity.ServiceAccount{}, fault.Internal(err)
	}
	networks, err := decodeNetworks(r.AllowedNetworks)
	if err != nil {
		return identity.ServiceAccount{}, fault.Internal(err)
	}
	return identity.ServiceAccount{
		ID: r.ID, Name: r.Name, DisplayName: r.DisplayName, Description: r.Description,
		Kind: identity.Kind(r.Kind), Owner: r.Owner, Labels: labels, Status: identity.Status(r.Status),
		ExpiresAt: fromMicros(r.ExpiresAt), TokenLifetime: duration(r.TokenLifetime), TokenRateLimit: int(r.TokenRateLimit),
		DefaultResourceServer: r.DefaultResourceServer, AllowedNetworks: networks,
		AllowedCredentials: decodeKinds(r.AllowedCredentials),
		Gen:                r.Gen, Version: r.Version, CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt),
		LastUsedAt: fromMicros(r.LastUsedAt),
	}, nil
}

func storableAccount(a *identity.ServiceAccount) error {
	texts := []string{a.ID, a.Name, a.DisplayName, a.Description, string(a.Kind), a.Owner, a.DefaultResourceServer}
	for k, v := range a.Labels {
		texts = append(texts, k, v)
	}
	for _, k := range a.AllowedCredentials {
		texts = append(texts, string(k))
	}
	return storable(texts...)
}

// AccountFilter selects service accounts; zero members select all.
type AccountFilter struct {
	Kind          identity.Kind
	Status        identity.Status
	Owner         string
	Labels        map[string]string // all must match
	NamePrefix    string
	UnusedSince   time.Time // never used, or not since then
	ExpiresBefore time.Time // ends, or has ended, before then
}

// Tombstone is what is left of a deleted thing.
type Tombstone struct {
	ID        string
	Name      string
	Gen       int64 // of a service account: the generation at its deletion
	DeletedAt time.Time
}

// ServiceAccount is a living account.
func (r *Reader) ServiceAccount(ctx context.Context, id string) (*identity.ServiceAccount, error) {
	row, err := r.accountRow(ctx, id, "deleted_at = 0")
	if err != nil {
		return nil, err
	}
	a, err := row.account()
	if err != nil {
		return nil, err
	}
	list := []identity.ServiceAccount{a}
	return &list[0], r.fillLastUses(ctx, list)
}

// ServiceAccountTombstone is a deleted account.
func (r *Reader) ServiceAccountTombstone(ctx context.Context, id string) (*Tombstone, error) {
	row, err := r.accountRow(ctx, id, "deleted_at <> 0")
	if err != nil {
		return nil, err
	}
	return &Tombstone{row.ID, row.Name, row.Gen, fromMicros(row.DeletedAt)}, nil
}

func (r *Reader) accountRow(ctx context.Context, id, condition string) (*accountRow, error) {
	if !known(id) {
		return nil, fault.NotFound(whatAccount)
	}
	row := new(accountRow)
	return row, one(r.db.NewSelect().Model(row).Where("id = ?", id).Where(condition).Scan(ctx), whatAccount)
}

// ServiceAccounts lists living accounts.
func (r *Reader) ServiceAccounts(ctx context.Context, f AccountFilter, p Page) (items []identity.ServiceAccount, more bool, err error) {
	texts := []string{string(f.Kind), string(f.Status), f.Owner, f.NamePrefix, p.After}
	for k, v := range f.Labels {
		texts = append(texts, k, v)
	}
	if err := storable(texts...); err != nil {
		return nil, false, err
	}
	var rows []accountRow
	q := p.cut(r.db.NewSelect().Model(&rows).Where("deleted_at = 0"), "id")
	for column, value := range map[string]string{"kind": string(f.Kind), "status": string(f.Status), "owner": f.Owner} {
		if value != "" {
			q = q.Where("? = ?", bun.Ident(column), value)
		}
	}
	for k, v := range f.Labels {
		q = q.Where(r.store.engine.labelMatch(), k, v)
	}
	if !f.UnusedSince.IsZero() {
		since := micros(f.UnusedSince)
		q = q.Where("last_used_at < ?", since).Where("created_at < ?", since) // who is younger has had no time to be used
		for _, t := range credentialTables() {
			q = q.Where("NOT EXISTS (SELECT 1 FROM ? AS c WHERE c.service_account_id = account_row.id AND c.last_used_at >= ?)", bun.Ident(t.table), since)
		}
	}
	q = expiresBefore(q, f.ExpiresBefore)
	if err := namePrefix(q, "name", f.NamePrefix).Scan(ctx); err != nil {
		return nil, false, translate(err)
	}
	if items, more, err = page(rows, p, (*accountRow).account); err != nil {
		return nil, false, err
	}
	return items, more, r.fillLastUses(ctx, items)
}

// fillLastUses adds when the accounts were last used: when their credentials
// were, deleted ones too. Releases before this wrote it to the account as well.
func (r *Reader) fillLastUses(ctx context.Context, list []identity.ServiceAccount) error {
	if len(list) == 0 {
		return nil
	}
	at := make(map[string]*identity.ServiceAccount, len(list))
	ids := make([]string, len(list))
	for i := range list {
		at[list[i].ID], ids[i] = &list[i], list[i].ID
	}
	var parts []string
	var args []any
	for _, t := range credentialTables() {
		parts = append(parts, "SELECT service_account_id, MAX(last_used_at) AS last_used_at FROM ? WHERE service_account_id IN (?) GROUP BY service_account_id")
		args = append(args, bun.Ident(t.table), bun.List(ids))
	}
	var rows []struct {
		ServiceAccountID string
		LastUsedAt       int64
	}
	if err := r.db.NewRaw(strings.Join(parts, " UNION ALL "), args...).Scan(ctx, &rows); err != nil {
		return translate(err)
	}
	for _, row := range rows {
		if used := fromMicros(row.LastUsedAt); used.After(at[row.ServiceAccountID].LastUsedAt) {
			at[row.ServiceAccountID].LastUsedAt = used
		}
	}
	return nil
}

// InsertServiceAccount adds an account. Zero Gen, Version and times are set.
func (tx *Tx) InsertServiceAccount(ctx context.Context, a *identity.ServiceAccount) error {
	if err := storableAccount(a); err != nil {
		return err
	}
	a.Gen, a.Version = max(a.Gen, 1), 1
	a.CreatedAt, a.UpdatedAt = orNow(a.CreatedAt, tx.Now), tx.Now
	if _, err := tx.db.NewInsert().Model(accountToRow(a)).Exec(ctx); err != nil {
		return nameTaken(translate(err), "name")
	}
	tx.written(ChangedServiceAccount, a.ID)
	return nil
}

// UpdateServiceAccount writes every member but ID, Gen, CreatedAt and
// LastUsedAt, provided that a.Version is the stored one; then a.Version and
// a.UpdatedAt are the new ones.
func (tx *Tx) UpdateServiceAccount(ctx context.Context, a *identity.ServiceAccount) error {
	if err := storableAccount(a); err != nil {
		return err
	}
	was, err := tx.ServiceAccount(ctx, a.ID)
	if err != nil {
		return err
	}
	row := accountToRow(a)
	row.Version, row.UpdatedAt = a.Version+1, micros(tx.Now)
	err = guarded(ctx, tx.db.NewUpdate().Model(row).
		ExcludeColumn("id", "gen", "created_at", "last_used_at", "deleted_at").
		Where("id = ?", a.ID).Where("version = ?", a.Version).Where("deleted_at = 0"), tx.accountExists(ctx, a.ID))
	if err != nil {
		return nameTaken(err, "name")
	}
	a.Version, a.UpdatedAt = row.Version, tx.Now
	tx.written(ChangedServiceAccount, a.ID)
	if micros(was.ExpiresAt) == row.ExpiresAt {
		return nil
	}
	if err := tx.endMoved(ctx, identity.RevokedServiceAccount, a.ID, a.ExpiresAt); err != nil {
		return err
	}
	return tx.takeOnGeneration(ctx, was)
}

// takeOnGeneration lets an account that verifiers were told has ended issue
// tokens again that they believe in. Its old ones stay dead.
func (tx *Tx) takeOnGeneration(ctx context.Context, a *identity.ServiceAccount) error {
	gen, err := tx.announcedGeneration(ctx, a.ID, a.Gen)
	if err != nil || gen == a.Gen {
		return err
	}
	_, err = tx.db.NewUpdate().Model((*accountRow)(nil)).Set("gen = ?", gen).Where("id = ?", a.ID).Exec(ctx)
	return translate(err)
}

// DeleteServiceAccount leaves a tombstone of the next generation, so that no
// token of the account is ever valid again, and takes away its
// secrets, its API keys, its roles, what it has used and its place among introspectors. a.Version must be the stored one.
func (tx *Tx) DeleteServiceAccount(ctx context.Context, a *identity.ServiceAccount) error {
	err := guarded(ctx, tx.db.NewUpdate().Model((*accountRow)(nil)).
		Set("deleted_at = ?", micros(tx.Now)).Set("updated_at = ?", micros(tx.Now)).
		Set("gen = gen + 1").Set("version = version + 1").
		Where("id = ?", a.ID).Where("version = ?", a.Version).Where("deleted_at = 0"), tx.accountExists(ctx, a.ID))
	if err != nil {
		return err
	}
	tx.written(ChangedServiceAccount, a.ID)
	tombstone, err := tx.ServiceAccountTombstone(ctx, a.ID)
	if err != nil {
		return err
	}
	if err := tx.revoked(ctx, identity.RevokedServiceAccount, a.ID, tombstone.Gen); err != nil {
		return err
	}
	if _, err := tx.db.NewUpdate().Model((*secretRow)(nil)).Set("deleted_at = ?", micros(tx.Now)).
		Where("service_account_id = ?", a.ID).Where("deleted_at = 0").Exec(ctx); err != nil {
		return translate(err)
	}
	if err := tx.deleteAPIKeysOf(ctx, a.ID); err != nil {
		return err
	}
	if _, err := tx.db.NewDelete().Model((*assignmentRow)(nil)).Where("service_account_id = ?", a.ID).Exec(ctx); err != nil {
		return translate(err)
	}
	if err := tx.forgetPermissionUses(ctx, a.ID); err != nil {
		return err
	}
	return tx.forgetIntrospector(ctx, a.ID)
}

// BumpGeneration makes every token issued to the account so far dead.
func (tx *Tx) BumpGeneration(ctx context.Context, id string) (gen int64, err error) {
	a, err := tx.ServiceAccount(ctx, id)
	if err != nil {
		return 0, err
	}
	if gen, err = tx.announcedGeneration(ctx, id, a.Gen+1); err != nil {
		return 0, err
	}
	err = guarded(ctx, tx.db.NewUpdate().Model((*accountRow)(nil)).
		Set("gen = ?", gen).Set("version = version + 1").Set("updated_at = ?", micros(tx.Now)).
		Where("id = ?", id).Where("deleted_at = 0"), tx.accountExists(ctx, id))
	if err != nil {
		return 0, err
	}
	tx.written(ChangedServiceAccount, id)
	return gen, tx.revoked(ctx, identity.RevokedServiceAccount, id, gen)
}

func (tx *Tx) accountExists(ctx context.Context, id string) func() error {
	return func() error {
		_, err := tx.ServiceAccount(ctx, id)
		return err
	}
}

func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t.UTC().Truncate(time.Microsecond)
}
