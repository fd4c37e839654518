package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
)

// What uses a thing, as [fault.User] tells it.
const (
	KindRole           = "role"
	KindServiceAccount = "service_account"
)

// useNamed is how many users are named; all are counted.
const useNamed = 20

// RoleUse: the accounts that hold the role.
func (r *Reader) RoleUse(ctx context.Context, roleID string) (fault.InUse, error) {
	return r.use(ctx, KindServiceAccount, `
		FROM role_assignments AS x JOIN service_accounts AS u ON u.id = x.service_account_id
		WHERE x.role_id = ?`, roleID)
}

// ResourceServerUse: the roles that grant permissions of the resource server.
func (r *Reader) ResourceServerUse(ctx context.Context, id string) (fault.InUse, error) {
	return r.use(ctx, KindRole, `
		FROM role_permissions AS x JOIN roles AS u ON u.id = x.role_id
		WHERE x.resource_server_id = ?`, id)
}

// PermissionUse: the roles that grant one of these permissions of the resource server.
func (r *Reader) PermissionUse(ctx context.Context, resourceServerID string, permissions ...string) (fault.InUse, error) {
	return r.use(ctx, KindRole, `
		FROM role_permissions AS x JOIN roles AS u ON u.id = x.role_id
		WHERE x.resource_server_id = ? AND x.permission IN (?)`, resourceServerID, bun.List(permissions))
}

// DefaultUse: the accounts whose default resource server this is.
func (r *Reader) DefaultUse(ctx context.Context, resourceServerID string) (fault.InUse, error) {
	return r.use(ctx, KindServiceAccount, `
		FROM service_accounts AS u
		WHERE u.deleted_at = 0 AND u.default_resource_server = ?`, resourceServerID)
}

// use counts the rows u and names the first.
func (r *Reader) use(ctx context.Context, kind, rows string, args ...any) (u fault.InUse, err error) {
	if err := r.db.NewRaw("SELECT COUNT(DISTINCT u.id)"+rows, args...).Scan(ctx, &u.Count); err != nil || u.Count == 0 {
		return u, translate(err)
	}
	err = r.db.NewRaw("SELECT DISTINCT u.id, u.name"+rows+" ORDER BY u.id LIMIT ?", append(args, useNamed)...).Scan(ctx, &u.First)
	for i := range u.First {
		u.First[i].Kind = kind
	}
	return u, translate(err)
}
