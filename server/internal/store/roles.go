package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

const whatRole = "role"

type roleRow struct {
	bun.BaseModel `bun:"table:roles"`

	ID          string `bun:",pk"`
	Name        string
	Description string
	BuiltIn     bool
	Version     int64
	CreatedAt   int64
	UpdatedAt   int64
	DeletedAt   int64
}

type rolePermissionRow struct {
	bun.BaseModel `bun:"table:role_permissions"`

	RoleID           string `bun:",pk"`
	ResourceServerID string `bun:",pk"`
	Permission       string `bun:",pk"`
}

func roleToRow(r *identity.Role) *roleRow {
	return &roleRow{
		ID: r.ID, Name: r.Name, Description: r.Description, BuiltIn: r.BuiltIn, Version: r.Version,
		CreatedAt: micros(r.CreatedAt), UpdatedAt: micros(r.UpdatedAt),
	}
}

func (r *roleRow) role() (identity.Role, error) {
	return identity.Role{
		ID: r.ID, Name: r.Name, Description: r.Description, BuiltIn: r.BuiltIn, Version: r.Version,
		CreatedAt: fromMicros(r.CreatedAt), UpdatedAt: fromMicros(r.UpdatedAt),
	}, nil
}

func storableRole(r *identity.Role) error {
	texts := []string{r.ID, r.Name, r.Description}
	for _, p := range r.Permissions {
		texts = append(texts, p.ResourceServerID, p.Permission)
	}
	return storable(texts...)
}

// RoleFilter selects roles; zero members select all.
type RoleFilter struct {
	NamePrefix       string
	ResourceServerID string // grants something there
}

// Role is a living role with its permissions.
func (r *Reader) Role(ctx context.Context, id string) (*identity.Role, error) {
	if !known(id) {
		return nil, fault.NotFound(whatRole)
	}
	row := new(roleRow)
	if err := r.db.NewSelect().Model(row).Where("id = ?", id).Where("deleted_at = 0").Scan(ctx); err != nil {
		return nil, one(err, whatRole)
	}
	role, _ := row.role()
	list := []identity.Role{role}
	if err := r.fillRoles(ctx, list); err != nil {
		return nil, err
	}
	return &list[0], nil
}

// Roles lists living roles with their permissions.
func (r *Reader) Roles(ctx context.Context, f RoleFilter, p Page) (items []identity.Role, more bool, err error) {
	if err := storable(f.NamePrefix, f.ResourceServerID, p.After); err != nil {
		return nil, false, err
	}
	var rows []roleRow
	q := p.cut(r.db.NewSelect().Model(&rows).Where("deleted_at = 0"), "id")
	if f.ResourceServerID != "" {
		q = q.Where("id IN (?)", r.db.NewSelect().Model((*rolePermissionRow)(nil)).Column("role_id").
			Where("resource_server_id = ?", f.ResourceServerID))
	}
	if err := namePrefix(q, "name", f.NamePrefix).Scan(ctx); err != nil {
		return nil, false, translate(err)
	}
	if items, more, err = page(rows, p, (*roleRow).role); err != nil {
		return nil, false, err
	}
	return items, more, r.fillRoles(ctx, items)
}

func (r *Reader) fillRoles(ctx context.Context, list []identity.Role) error {
	if len(list) == 0 {
		return nil
	}
	at := make(map[string]*identity.Role, len(list))
	ids := make([]string, len(list))
	for i := range list {
		at[list[i].ID], ids[i] = &list[i], list[i].ID
	}
	var rows []rolePermissionRow
	if err := r.db.NewSelect().Model(&rows).Where("role_id IN (?)", bun.List(ids)).
		Order("role_id", "resource_server_id", "permission").Scan(ctx); err != nil {
		return translate(err)
	}
	for _, p := range rows {
		role := at[p.RoleID]
		role.Permissions = append(role.Permissions, identity.RolePermission{ResourceServerID: p.ResourceServerID, Permission: p.Permission})
	}
	return nil
}

// InsertRole adds a role. A permission that no resource server declares is Invalid.
func (tx *Tx) InsertRole(ctx context.Context, r *identity.Role) error {
	if err := storableRole(r); err != nil {
		return err
	}
	r.Version, r.CreatedAt, r.UpdatedAt = 1, orNow(r.CreatedAt, tx.Now), tx.Now
	if _, err := tx.db.NewInsert().Model(roleToRow(r)).Exec(ctx); err != nil {
		return nameTaken(translate(err), "name")
	}
	tx.written(ChangedRole, r.ID)
	return tx.writeRolePermissions(ctx, r)
}

// UpdateRole writes name, description and permissions, provided that r.Version
// is the stored one.
func (tx *Tx) UpdateRole(ctx context.Context, r *identity.Role) error {
	if err := storableRole(r); err != nil {
		return err
	}
	row := roleToRow(r)
	row.Version, row.UpdatedAt = r.Version+1, micros(tx.Now)
	err := guarded(ctx, tx.db.NewUpdate().Model(row).Column("name", "description", "version", "updated_at").
		Where("id = ?", r.ID).Where("version = ?", r.Version).Where("deleted_at = 0"), tx.roleExists(ctx, r.ID))
	if err != nil {
		return nameTaken(err, "name")
	}
	r.Version, r.UpdatedAt = row.Version, tx.Now
	tx.written(ChangedRole, r.ID)
	if _, err := tx.db.NewDelete().Model((*rolePermissionRow)(nil)).Where("role_id = ?", r.ID).Exec(ctx); err != nil {
		return translate(err)
	}
	return tx.writeRolePermissions(ctx, r)
}

func (tx *Tx) writeRolePermissions(ctx context.Context, r *identity.Role) error {
	slices.SortFunc(r.Permissions, identity.RolePermission.Compare)
	r.Permissions = slices.Compact(r.Permissions)
	if len(r.Permissions) == 0 {
		return nil
	}
	rows := make([]rolePermissionRow, len(r.Permissions))
	for i, p := range r.Permissions {
		rows[i] = rolePermissionRow{RoleID: r.ID, ResourceServerID: p.ResourceServerID, Permission: p.Permission}
	}
	_, err := tx.db.NewInsert().Model(&rows).Exec(ctx)
	if err = translate(err); errors.As(err, new(referenceViolation)) {
		return fault.Invalid("a permission of the role is not declared by its resource server").Because(err)
	}
	return err
}

// DeleteRole removes a role and its assignments. r.Version must be the stored one.
func (tx *Tx) DeleteRole(ctx context.Context, r *identity.Role) error {
	err := guarded(ctx, tx.db.NewUpdate().Model((*roleRow)(nil)).
		Set("deleted_at = ?", micros(tx.Now)).Set("updated_at = ?", micros(tx.Now)).Set("version = version + 1").
		Where("id = ?", r.ID).Where("version = ?", r.Version).Where("deleted_at = 0"), tx.roleExists(ctx, r.ID))
	if err != nil {
		return err
	}
	tx.written(ChangedRole, r.ID)
	for _, table := range []any{(*rolePermissionRow)(nil), (*assignmentRow)(nil)} {
		if _, err := tx.db.NewDelete().Model(table).Where("role_id = ?", r.ID).Exec(ctx); err != nil {
			return translate(err)
		}
	}
	return nil
}

func (tx *Tx) roleExists(ctx context.Context, id string) func() error {
	return func() error {
		_, err := tx.Role(ctx, id)
		return err
	}
}

// EnabledAdministrators counts the accounts that administer Marque for good:
// enabled, holding the admin role, both without an end date. One that will
// expire does not count, or time would take the last one away.
func (r *Reader) EnabledAdministrators(ctx context.Context, _ time.Time) (int, error) {
	n, err := r.db.NewSelect().Model((*assignmentRow)(nil)).
		Join("JOIN service_accounts AS sa ON sa.id = service_account_id").
		Where("role_id = ?", identity.RoleAdminID).Where("role_assignments.expires_at = 0").
		Where("sa.deleted_at = 0").Where("sa.status = ?", string(identity.StatusActive)).Where("sa.expires_at = 0").
		Count(ctx)
	return int(n), translate(err)
}
