package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/identity"
)

// EffectiveFilter selects permissions that an account holds; zero members
// select all.
type EffectiveFilter struct {
	ResourceServerID string
	// UnusedSince: not used in the hour of that time or later, and held since
	// before it.
	UnusedSince time.Time
}

// EffectivePosition is a place among the permissions of an account, which come in
// the order of resource servers' ids, then of their names.
type EffectivePosition struct{ ResourceServerID, Permission string }

// rolesNamed bounds the roles that are named with one permission.
const rolesNamed = 20

type effectiveRow struct {
	ResourceServerID string
	Permission       string
	Identifier       string
	LastUsedAt       int64
	RoleCount        int
}

type effectiveRoleRow struct {
	ResourceServerID string
	Permission       string
	RoleID           string
	RoleName         string
	ExpiresAt        int64
}

// PermissionsInEffect lists what the account's live assignments give it at the
// given time, with the roles that give it and when it was last used.
func (r *Reader) PermissionsInEffect(
	ctx context.Context, accountID string, f EffectiveFilter, now time.Time, after EffectivePosition, size int,
) (items []identity.EffectivePermission, more bool, err error) {
	if err := storable(accountID, f.ResourceServerID, after.ResourceServerID, after.Permission); err != nil {
		return nil, false, err
	}
	var rows []effectiveRow
	q := r.effective(accountID, f, now).
		ColumnExpr("rp.resource_server_id, rp.permission, rs.identifier, COALESCE(u.last_used_at, 0) AS last_used_at, COUNT(*) AS role_count").
		Join("LEFT JOIN permission_uses AS u ON u.service_account_id = ra.service_account_id" +
			" AND u.resource_server_id = rp.resource_server_id AND u.permission = rp.permission").
		GroupExpr("rp.resource_server_id, rp.permission, rs.identifier, u.last_used_at").
		OrderExpr("rp.resource_server_id, rp.permission").Limit(int64(size + 1))
	if after != (EffectivePosition{}) {
		q = q.Where("(rp.resource_server_id, rp.permission) > (?, ?)", after.ResourceServerID, after.Permission)
	}
	if !f.UnusedSince.IsZero() {
		q = q.Where("COALESCE(u.last_used_at, 0) < ?", f.UnusedSince.Truncate(useGrain).UnixMicro()).
			Having("MIN(ra.created_at) < ?", micros(f.UnusedSince)) // what is younger has had no time to be used
	}
	if err := q.Scan(ctx, &rows); err != nil {
		return nil, false, translate(err)
	}
	if len(rows) > size {
		rows, more = rows[:size], true
	}
	items = make([]identity.EffectivePermission, len(rows))
	for i, row := range rows {
		items[i] = identity.EffectivePermission{
			ResourceServerID: row.ResourceServerID, Audience: row.Identifier, Permission: row.Permission,
			RoleCount: row.RoleCount, LastUsedAt: fromMicros(row.LastUsedAt),
		}
	}
	return items, more, r.fillEffective(ctx, accountID, now, items)
}

// effective are the rows of live assignments, roles and what they give.
func (r *Reader) effective(accountID string, f EffectiveFilter, now time.Time) *bun.SelectQuery {
	q := r.db.NewSelect().TableExpr("role_assignments AS ra").
		Join("JOIN roles AS ro ON ro.id = ra.role_id AND ro.deleted_at = 0").
		Join("JOIN role_permissions AS rp ON rp.role_id = ra.role_id").
		Join("JOIN resource_servers AS rs ON rs.id = rp.resource_server_id AND rs.deleted_at = 0").
		Where("ra.service_account_id = ?", accountID).
		Where("(ra.expires_at = 0 OR ra.expires_at > ?)", micros(now))
	if f.ResourceServerID != "" {
		q = q.Where("rp.resource_server_id = ?", f.ResourceServerID)
	}
	return q
}

// fillEffective names the roles of a page of permissions.
func (r *Reader) fillEffective(ctx context.Context, accountID string, now time.Time, items []identity.EffectivePermission) error {
	if len(items) == 0 {
		return nil
	}
	first, last := &items[0], &items[len(items)-1]
	numbered := r.effective(accountID, EffectiveFilter{}, now).
		ColumnExpr("rp.resource_server_id, rp.permission, ra.role_id, ro.name AS role_name, ra.expires_at").
		ColumnExpr("ROW_NUMBER() OVER (PARTITION BY rp.resource_server_id, rp.permission ORDER BY ro.name) AS place").
		Where("(rp.resource_server_id, rp.permission) >= (?, ?)", first.ResourceServerID, first.Permission).
		Where("(rp.resource_server_id, rp.permission) <= (?, ?)", last.ResourceServerID, last.Permission)
	var rows []effectiveRoleRow
	err := r.db.NewSelect().TableExpr("(?) AS numbered", numbered).
		Column("resource_server_id", "permission", "role_id", "role_name", "expires_at").
		Where("place <= ?", rolesNamed).OrderExpr("resource_server_id, permission, place").Scan(ctx, &rows)
	if err != nil {
		return translate(err)
	}
	for _, row := range rows {
		i, found := slices.BinarySearchFunc(items, row, func(e identity.EffectivePermission, row effectiveRoleRow) int {
			if c := strings.Compare(e.ResourceServerID, row.ResourceServerID); c != 0 {
				return c
			}
			return strings.Compare(e.Permission, row.Permission)
		})
		if found { // a filter may have left it out
			items[i].Roles = append(items[i].Roles, identity.GivingRole{
				RoleID: row.RoleID, RoleName: row.RoleName, ExpiresAt: fromMicros(row.ExpiresAt),
			})
		}
	}
	return nil
}
