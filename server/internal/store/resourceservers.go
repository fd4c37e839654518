package store

import (
	"context"
	"errors"
	"slices"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

const whatResourceServer = "resource server"

type resourceServerRow struct {
	bun.BaseModel `bun:"table:resource_servers"`

	ID               string `bun:",pk"`
	Identifier       string
	Name             string
	TokenLifetimeMax int64
	SigningAlg       string
	SigningAlgBefore string
	BuiltIn          bool
	Version          int64
	CreatedAt        int64
	UpdatedAt        int64
	DeletedAt        int64
}

type permissionRow struct {
	bun.BaseModel `bun:"table:resource_server_permissions"`

	ResourceServerID string `bun:",pk"`
	Name             string `bun:",pk"`
	Description      string
}

type introspectorRow struct {
	bun.BaseModel `bun:"table:resource_server_introspectors"`

	ResourceServerID string `bun:",pk"`
	ServiceAccountID string `bun:",pk"`
}

func resourceServerToRow(rs *identity.ResourceServer) *resourceServerRow {
	return &resourceServerRow{
		ID: rs.ID, Identifier: rs.Identifier, Name: rs.Name, TokenLifetimeMax: rs.TokenLifetimeMax.Microseconds(),
		SigningAlg: rs.SigningAlg, SigningAlgBefore: rs.SigningAlgBefore, BuiltIn: rs.BuiltIn, Version: rs.Version,
		CreatedAt: micros(rs.CreatedAt), UpdatedAt: micros(rs.UpdatedAt),
	}
}

func (r *resourceServerRow) resourceServer() (identity.ResourceServer, error) {
	return identity.ResourceServer{
		ID: r.ID, Identifier: r.Identifier, Name: r.Name, TokenLifetimeMax: duration(r.TokenLifetimeMax),
		SigningAlg: r.SigningAlg, SigningAlgBefore: r.SigningAlgBefore, BuiltIn: r.BuiltIn, Version: r.Version,
		CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt),
	}, nil
}

func storableResourceServer(rs *identity.ResourceServer) error {
	texts := []string{rs.ID, rs.Identifier, rs.Name, rs.SigningAlg, rs.SigningAlgBefore}
	for _, p := range rs.Permissions {
		texts = append(texts, p.Name, p.Description)
	}
	return storable(append(texts, rs.Introspectors...)...)
}

// ResourceServerFilter selects resource servers; zero members select all.
type ResourceServerFilter struct {
	Identifier string
	NamePrefix string
}

// ResourceServer is a living resource server.
func (r *Reader) ResourceServer(ctx context.Context, id string) (*identity.ResourceServer, error) {
	return r.resourceServer(ctx, "id", id)
}

// ResourceServerByIdentifier is the living resource server with that aud.
func (r *Reader) ResourceServerByIdentifier(ctx context.Context, identifier string) (*identity.ResourceServer, error) {
	return r.resourceServer(ctx, "identifier", identifier)
}

func (r *Reader) resourceServer(ctx context.Context, column, value string) (*identity.ResourceServer, error) {
	if !known(value) {
		return nil, fault.NotFound(whatResourceServer)
	}
	row := new(resourceServerRow)
	err := r.db.NewSelect().Model(row).Where("? = ?", bun.Ident(column), value).Where("deleted_at = 0").Scan(ctx)
	if err != nil {
		return nil, one(err, whatResourceServer)
	}
	rs, _ := row.resourceServer()
	list := []identity.ResourceServer{rs}
	if err := r.fillResourceServers(ctx, list); err != nil {
		return nil, err
	}
	return &list[0], nil
}

// ResourceServers lists living resource servers.
func (r *Reader) ResourceServers(ctx context.Context, f ResourceServerFilter, p Page) (items []identity.ResourceServer, more bool, err error) {
	if err := storable(f.Identifier, f.NamePrefix, p.After); err != nil {
		return nil, false, err
	}
	var rows []resourceServerRow
	q := p.cut(r.db.NewSelect().Model(&rows).Where("deleted_at = 0"), "id")
	if f.Identifier != "" {
		q = q.Where("identifier = ?", f.Identifier)
	}
	if err := namePrefix(q, "name", f.NamePrefix).Scan(ctx); err != nil {
		return nil, false, translate(err)
	}
	items, more, err = page(rows, p, (*resourceServerRow).resourceServer)
	if err != nil {
		return nil, false, err
	}
	return items, more, r.fillResourceServers(ctx, items)
}

// fillResourceServers adds permissions and introspectors, in the order of names and ids.
func (r *Reader) fillResourceServers(ctx context.Context, list []identity.ResourceServer) error {
	if len(list) == 0 {
		return nil
	}
	at := make(map[string]*identity.ResourceServer, len(list))
	ids := make([]string, len(list))
	for i := range list {
		at[list[i].ID], ids[i] = &list[i], list[i].ID
	}
	var permissions []permissionRow
	if err := r.db.NewSelect().Model(&permissions).Where("resource_server_id IN (?)", bun.List(ids)).
		Order("resource_server_id", "name").Scan(ctx); err != nil {
		return translate(err)
	}
	for _, p := range permissions {
		rs := at[p.ResourceServerID]
		rs.Permissions = append(rs.Permissions, identity.Permission{Name: p.Name, Description: p.Description})
	}
	var introspectors []introspectorRow
	if err := r.db.NewSelect().Model(&introspectors).Where("resource_server_id IN (?)", bun.List(ids)).
		Order("resource_server_id", "service_account_id").Scan(ctx); err != nil {
		return translate(err)
	}
	for _, i := range introspectors {
		rs := at[i.ResourceServerID]
		rs.Introspectors = append(rs.Introspectors, i.ServiceAccountID)
	}
	return nil
}

// InsertResourceServer adds a resource server.
func (tx *Tx) InsertResourceServer(ctx context.Context, rs *identity.ResourceServer) error {
	if err := storableResourceServer(rs); err != nil {
		return err
	}
	rs.Version, rs.CreatedAt, rs.UpdatedAt = 1, orNow(rs.CreatedAt, tx.Now), tx.Now
	if _, err := tx.db.NewInsert().Model(resourceServerToRow(rs)).Exec(ctx); err != nil {
		return nameTaken(translate(err), "identifier")
	}
	tx.written(ChangedResourceServer, rs.ID)
	return tx.writeResourceServerLists(ctx, rs)
}

// UpdateResourceServer writes every member but ID, Identifier, BuiltIn and
// CreatedAt, provided that rs.Version is the stored one. A permission that a
// role still grants cannot be withdrawn: Conflict in_use.
func (tx *Tx) UpdateResourceServer(ctx context.Context, rs *identity.ResourceServer) error {
	if err := storableResourceServer(rs); err != nil {
		return err
	}
	row := resourceServerToRow(rs)
	row.Version, row.UpdatedAt = rs.Version+1, micros(tx.Now)
	err := guarded(ctx, tx.db.NewUpdate().Model(row).
		Column("name", "token_lifetime_max", "signing_alg", "signing_alg_before", "version", "updated_at").
		Where("id = ?", rs.ID).Where("version = ?", rs.Version).Where("deleted_at = 0"), tx.resourceServerExists(ctx, rs.ID))
	if err != nil {
		return err
	}
	rs.Version, rs.UpdatedAt = row.Version, tx.Now
	tx.written(ChangedResourceServer, rs.ID)
	return tx.writeResourceServerLists(ctx, rs)
}

// writeResourceServerLists makes the stored permissions and introspectors those of rs.
func (tx *Tx) writeResourceServerLists(ctx context.Context, rs *identity.ResourceServer) error {
	keep := make([]string, 0, len(rs.Permissions))
	rows := make([]permissionRow, 0, len(rs.Permissions))
	for _, p := range rs.Permissions {
		if !slices.Contains(keep, p.Name) {
			keep = append(keep, p.Name)
			rows = append(rows, permissionRow{ResourceServerID: rs.ID, Name: p.Name, Description: p.Description})
		}
	}
	if err := tx.touchKeysOfWithdrawn(ctx, rs.ID, keep); err != nil {
		return err
	}
	remove := tx.db.NewDelete().Model((*permissionRow)(nil)).Where("resource_server_id = ?", rs.ID)
	if len(keep) > 0 {
		remove = remove.Where("name NOT IN (?)", bun.List(keep))
	}
	if _, err := remove.Exec(ctx); err != nil {
		if err = translate(err); errors.As(err, new(referenceViolation)) {
			return fault.New(fault.KindConflict, fault.CodeInUse, "a role grants a permission that would be withdrawn").Because(err)
		}
		return err
	}
	if len(rows) > 0 {
		if _, err := tx.db.NewInsert().Model(&rows).On("CONFLICT (resource_server_id, name) DO UPDATE").
			Set("description = EXCLUDED.description").Exec(ctx); err != nil {
			return translate(err)
		}
	}
	return tx.writeIntrospectors(ctx, rs)
}

func (tx *Tx) writeIntrospectors(ctx context.Context, rs *identity.ResourceServer) error {
	if _, err := tx.db.NewDelete().Model((*introspectorRow)(nil)).Where("resource_server_id = ?", rs.ID).Exec(ctx); err != nil {
		return translate(err)
	}
	if len(rs.Introspectors) == 0 {
		return nil
	}
	var rows []introspectorRow
	for _, id := range slices.Compact(slices.Sorted(slices.Values(rs.Introspectors))) {
		if _, err := tx.ServiceAccount(ctx, id); err != nil {
			return err
		}
		rows = append(rows, introspectorRow{ResourceServerID: rs.ID, ServiceAccountID: id})
	}
	_, err := tx.db.NewInsert().Model(&rows).Exec(ctx)
	return translate(err)
}

// forgetIntrospector takes a deleted account off all lists of introspectors.
func (tx *Tx) forgetIntrospector(ctx context.Context, accountID string) error {
	var ids []string
	err := tx.db.NewSelect().Model((*introspectorRow)(nil)).Column("resource_server_id").
		Where("service_account_id = ?", accountID).Scan(ctx, &ids)
	if err != nil || len(ids) == 0 {
		return translate(err)
	}
	for _, id := range ids {
		tx.written(ChangedResourceServer, id)
	}
	_, err = tx.db.NewDelete().Model((*introspectorRow)(nil)).Where("service_account_id = ?", accountID).Exec(ctx)
	return translate(err)
}

// DeleteResourceServer removes it, its permissions from the roles that grant
// them and from API keys, and itself as the default of accounts. rs.Version must be the stored one.
func (tx *Tx) DeleteResourceServer(ctx context.Context, rs *identity.ResourceServer) error {
	err := guarded(ctx, tx.db.NewUpdate().Model((*resourceServerRow)(nil)).
		Set("deleted_at = ?", micros(tx.Now)).Set("updated_at = ?", micros(tx.Now)).Set("version = version + 1").
		Where("id = ?", rs.ID).Where("version = ?", rs.Version).Where("deleted_at = 0"), tx.resourceServerExists(ctx, rs.ID))
	if err != nil {
		return err
	}
	tx.written(ChangedResourceServer, rs.ID)
	if err := errors.Join(tx.touchRoles(ctx, rs.ID), tx.touchAPIKeys(ctx, rs.ID)); err != nil {
		return err
	}
	if err := tx.dropGrants(ctx, rs.ID); err != nil {
		return err
	}
	for _, table := range []any{(*permissionRow)(nil), (*introspectorRow)(nil)} {
		if _, err := tx.db.NewDelete().Model(table).Where("resource_server_id = ?", rs.ID).Exec(ctx); err != nil {
			return translate(err)
		}
	}
	accounts, err := tx.AccountsByDefault(ctx, rs.ID)
	if err != nil {
		return err
	}
	for _, id := range accounts {
		tx.written(ChangedServiceAccount, id)
	}
	_, err = tx.db.NewUpdate().Model((*accountRow)(nil)).
		Set("default_resource_server = ''").Set("version = version + 1").Set("updated_at = ?", micros(tx.Now)).
		Where("default_resource_server = ?", rs.ID).Exec(ctx)
	return translate(err)
}

// AccountsByDefault are the ids of the accounts whose default resource server
// this is, sorted.
func (r *Reader) AccountsByDefault(ctx context.Context, resourceServerID string) (ids []string, err error) {
	if !known(resourceServerID) {
		return nil, nil
	}
	err = r.db.NewSelect().Model((*accountRow)(nil)).Column("id").
		Where("default_resource_server = ?", resourceServerID).Where("deleted_at = 0").Order("id").Scan(ctx, &ids)
	return ids, translate(err)
}

func (tx *Tx) resourceServerExists(ctx context.Context, id string) func() error {
	return func() error {
		_, err := tx.ResourceServer(ctx, id)
		return err
	}
}
