package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"
)

// GrantedPermission is one permission in one role.
type GrantedPermission struct {
	RoleID, RoleName, Permission string
}

// All is the limit of a list that is wanted whole.
const All = 0

// GrantedPermissions are where roles grant permissions of the resource server,
// in the order of role ids and names, at most limit of them. No names stand for
// all of its permissions.
func (r *Reader) GrantedPermissions(ctx context.Context, resourceServerID string, limit int, names ...string) (list []GrantedPermission, err error) {
	if !known(resourceServerID) {
		return nil, nil
	}
	q := r.db.NewSelect().TableExpr("role_permissions AS rp").Join("JOIN roles AS ro ON ro.id = rp.role_id").
		ColumnExpr("ro.id AS role_id, ro.name AS role_name, rp.permission").
		Where("rp.resource_server_id = ?", resourceServerID)
	if len(names) > 0 {
		q = q.Where("rp.permission IN (?)", bun.List(names))
	}
	if limit != All {
		q = q.Limit(int64(limit))
	}
	err = q.OrderExpr("ro.id, rp.permission").Scan(ctx, &list)
	return list, translate(err)
}

// Losses are the permissions that accounts hold and would hold no more.
type Losses struct {
	Count int
	First []Loss // the first 100, in the order of account ids and permissions
}

// Loss is one of them.
type Loss struct {
	ServiceAccountID string
	AccountName      string
	Permission       string
	RoleNames        []string `bun:"-"` // the roles that give it, sorted
}

const lossesNamed = 100

// Losses tells who holds permissions of the resource server by a live
// assignment, now and no more once they are removed.
func (r *Reader) Losses(ctx context.Context, resourceServerID string, permissions []string, now time.Time) (l Losses, err error) {
	if !known(resourceServerID) || len(permissions) == 0 {
		return l, nil
	}
	const held = `
		FROM role_permissions AS rp
		JOIN role_assignments AS ra ON ra.role_id = rp.role_id
		JOIN service_accounts AS sa ON sa.id = ra.service_account_id AND sa.deleted_at = 0
		JOIN roles AS ro ON ro.id = rp.role_id
		WHERE rp.resource_server_id = ? AND rp.permission IN (?) AND (ra.expires_at = 0 OR ra.expires_at > ?)`
	args := []any{resourceServerID, bun.List(permissions), micros(now)}
	err = r.db.NewRaw("SELECT COUNT(*) FROM (SELECT DISTINCT sa.id, rp.permission"+held+") AS lost", args...).Scan(ctx, &l.Count)
	if err != nil || l.Count == 0 {
		return l, translate(err)
	}
	err = r.db.NewRaw("SELECT DISTINCT sa.id AS service_account_id, sa.name AS account_name, rp.permission"+held+
		" ORDER BY sa.id, rp.permission LIMIT ?", append(args, lossesNamed)...).Scan(ctx, &l.First)
	if err != nil {
		return l, translate(err)
	}
	at := make(map[[2]string]*Loss, len(l.First))
	accounts := make([]string, 0, len(l.First))
	for i := range l.First {
		one := &l.First[i]
		at[[2]string{one.ServiceAccountID, one.Permission}] = one
		accounts = append(accounts, one.ServiceAccountID)
	}
	var sources []struct{ ServiceAccountID, Permission, RoleName string }
	err = r.db.NewRaw("SELECT sa.id AS service_account_id, rp.permission, ro.name AS role_name"+held+
		" AND sa.id IN (?) ORDER BY ro.name", append(args, bun.List(accounts))...).Scan(ctx, &sources)
	for _, s := range sources {
		if one := at[[2]string{s.ServiceAccountID, s.Permission}]; one != nil { // else it comes after the first 100
			one.RoleNames = append(one.RoleNames, s.RoleName)
		}
	}
	return l, translate(err)
}
