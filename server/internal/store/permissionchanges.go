package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/identity"
)

// PermissionChanges are what becomes of declared permissions of one resource
// server. No name stands in it twice.
type PermissionChanges struct {
	Rename []identity.Renaming
	Remove []string
}

// Names are those that are declared now.
func (c *PermissionChanges) Names() []string {
	names := make([]string, 0, len(c.Rename)+len(c.Remove))
	for _, r := range c.Rename {
		names = append(names, r.From)
	}
	return append(names, c.Remove...)
}

// grantTables are all tables that hold permissions of resource servers by name,
// in columns resource_server_id and permission, and refer to their declaration.
func grantTables() []any { return []any{(*rolePermissionRow)(nil), (*apiKeyPermissionRow)(nil)} }

// ChangePermissions renames and removes permissions where they are declared and
// wherever they are granted, provided that rs.Version is the stored one. Roles
// that grant them and API keys that are restricted to them get a new version; no
// account is written. The names must be
// declared, new ones must not be.
func (tx *Tx) ChangePermissions(ctx context.Context, rs *identity.ResourceServer, c PermissionChanges) error {
	for _, r := range c.Rename {
		if err := storable(r.To); err != nil {
			return err
		}
	}
	err := guarded(ctx, tx.db.NewUpdate().Model((*resourceServerRow)(nil)).
		Set("version = version + 1").Set("updated_at = ?", micros(tx.Now)).
		Where("id = ?", rs.ID).Where("version = ?", rs.Version).Where("deleted_at = 0"), tx.resourceServerExists(ctx, rs.ID))
	if err != nil {
		return err
	}
	tx.written(ChangedResourceServer, rs.ID)
	if err := tx.touchRoles(ctx, rs.ID, c.Names()...); err != nil {
		return err
	}
	if err := tx.touchAPIKeys(ctx, rs.ID, c.Names()...); err != nil {
		return err
	}
	for _, r := range c.Rename {
		if err := tx.renamePermission(ctx, rs.ID, r); err != nil {
			return err
		}
	}
	if len(c.Remove) == 0 {
		return nil
	}
	if err := tx.dropGrants(ctx, rs.ID, c.Remove...); err != nil {
		return err
	}
	return tx.undeclare(ctx, rs.ID, c.Remove...)
}

// renamePermission declares the new name, moves what is granted to it and takes
// the old one back: at no step does a grant refer to what is not declared.
func (tx *Tx) renamePermission(ctx context.Context, resourceServerID string, r identity.Renaming) error {
	if _, err := tx.db.NewRaw(`
		INSERT INTO resource_server_permissions (resource_server_id, name, description)
		SELECT resource_server_id, ?, description FROM resource_server_permissions
		WHERE resource_server_id = ? AND name = ?`, r.To, resourceServerID, r.From).Exec(ctx); err != nil {
		return nameTaken(translate(err), "permission")
	}
	for _, table := range grantTables() {
		if _, err := tx.db.NewUpdate().Model(table).Set("permission = ?", r.To).
			Where("resource_server_id = ?", resourceServerID).Where("permission = ?", r.From).Exec(ctx); err != nil {
			return translate(err)
		}
	}
	return tx.undeclare(ctx, resourceServerID, r.From)
}

func (tx *Tx) undeclare(ctx context.Context, resourceServerID string, names ...string) error {
	_, err := tx.db.NewDelete().Model((*permissionRow)(nil)).
		Where("resource_server_id = ?", resourceServerID).Where("name IN (?)", bun.List(names)).Exec(ctx)
	return translate(err)
}

// dropGrants takes permissions of a resource server from all that hold them; no
// names stand for all of them.
func (tx *Tx) dropGrants(ctx context.Context, resourceServerID string, names ...string) error {
	for _, table := range grantTables() {
		q := tx.db.NewDelete().Model(table).Where("resource_server_id = ?", resourceServerID)
		if len(names) > 0 {
			q = q.Where("permission IN (?)", bun.List(names))
		}
		if _, err := q.Exec(ctx); err != nil {
			return translate(err)
		}
	}
	return nil
}

// touchRoles gives the roles that grant permissions of a resource server their
// next version; no names stand for all of its permissions.
func (tx *Tx) touchRoles(ctx context.Context, resourceServerID string, names ...string) error {
	var roles []string
	q := tx.db.NewSelect().Model((*rolePermissionRow)(nil)).ColumnExpr("DISTINCT role_id").
		Where("resource_server_id = ?", resourceServerID)
	if len(names) > 0 {
		q = q.Where("permission IN (?)", bun.List(names))
	}
	if err := q.Scan(ctx, &roles); err != nil || len(roles) == 0 {
		return translate(err)
	}
	for _, id := range roles {
		tx.written(ChangedRole, id)
	}
	_, err := tx.db.NewUpdate().Model((*roleRow)(nil)).
		Set("version = version + 1").Set("updated_at = ?", micros(tx.Now)).
		Where("id IN (?)", bun.List(roles)).Exec(ctx)
	return translate(err)
}
