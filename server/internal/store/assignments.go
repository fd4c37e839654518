package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

const whatAssignment = "role assignment"

type assignmentRow struct {
	bun.BaseModel `bun:"table:role_assignments,alias:role_assignments"`

	ServiceAccountID string `bun:",pk"`
	RoleID           string `bun:",pk"`
	ExpiresAt        int64
	CreatedAt        int64

	RoleName string `bun:",scanonly"`
}

func (r *assignmentRow) assignment() (identity.Assignment, error) {
	return identity.Assignment{
		ServiceAccountID: r.ServiceAccountID, RoleID: r.RoleID, RoleName: r.RoleName,
		ExpiresAt: fromMicros(r.ExpiresAt), CreatedAt: fromMicros(r.CreatedAt),
	}, nil
}

func (r *Reader) selectAssignments(into any) *bun.SelectQuery {
	return r.db.NewSelect().Model(into).
		Column("service_account_id", "role_id", "expires_at").
		ColumnExpr("role_assignments.created_at, roles.name AS role_name").
		Join("JOIN roles ON roles.id = role_id")
}

// Assignment is the assignment of one role, live or expired.
func (r *Reader) Assignment(ctx context.Context, accountID, roleID string) (*identity.Assignment, error) {
	if !known(accountID) || !known(roleID) {
		return nil, fault.NotFound(whatAssignment)
	}
	row := new(assignmentRow)
	err := r.selectAssignments(row).Where("service_account_id = ?", accountID).Where("role_id = ?", roleID).Scan(ctx)
	if err != nil {
		return nil, one(err, whatAssignment)
	}
	a, err := row.assignment()
	return &a, err
}

// AssignmentFilter selects assignments; zero members select all.
type AssignmentFilter struct {
	ExpiresBefore time.Time // ends, or has ended, before then
}

// Assignments lists the roles of an account; Page.After is a role id.
func (r *Reader) Assignments(ctx context.Context, accountID string, f AssignmentFilter, p Page) (items []identity.Assignment, more bool, err error) {
	return r.assignments(ctx, "service_account_id", accountID, "role_id", f, p)
}

// AssignmentsOfRole lists who holds a role; Page.After is an account id.
func (r *Reader) AssignmentsOfRole(ctx context.Context, roleID string, p Page) (items []identity.Assignment, more bool, err error) {
	return r.assignments(ctx, "role_id", roleID, "service_account_id", AssignmentFilter{}, p)
}

func (r *Reader) assignments(ctx context.Context, column, value, order string, f AssignmentFilter, p Page) (items []identity.Assignment, more bool, err error) {
	if err := storable(value, p.After); err != nil {
		return nil, false, err
	}
	var rows []assignmentRow
	q := expiresBefore(r.selectAssignments(&rows).Where("? = ?", bun.Ident(column), value), f.ExpiresBefore)
	if err := p.cut(q, order).Scan(ctx); err != nil {
		return nil, false, translate(err)
	}
	return page(rows, p, (*assignmentRow).assignment)
}

// Assign gives a role to an account, or changes the end date of a role it has.
// Account and role must be living. created tells which of the two it was.
func (tx *Tx) Assign(ctx context.Context, a *identity.Assignment) (created bool, err error) {
	if _, err := tx.ServiceAccount(ctx, a.ServiceAccountID); err != nil {
		return false, err
	}
	role, err := tx.Role(ctx, a.RoleID)
	if err != nil {
		return false, err
	}
	a.RoleName = role.Name
	n, err := affected(ctx, tx.db.NewUpdate().Model((*assignmentRow)(nil)).ModelTableExpr("role_assignments").
		Set("expires_at = ?", micros(a.ExpiresAt)).
		Where("service_account_id = ?", a.ServiceAccountID).Where("role_id = ?", a.RoleID))
	if err != nil {
		return false, err
	}
	if n > 0 {
		was, err := tx.Assignment(ctx, a.ServiceAccountID, a.RoleID)
		if err != nil {
			return false, err
		}
		*a = *was
	} else {
		a.CreatedAt = tx.Now
		row := assignmentRow{
			ServiceAccountID: a.ServiceAccountID, RoleID: a.RoleID,
			ExpiresAt: micros(a.ExpiresAt), CreatedAt: micros(a.CreatedAt),
		}
		if _, err := tx.db.NewInsert().Model(&row).Exec(ctx); err != nil {
			return false, translate(err)
		}
	}
	tx.written(ChangedServiceAccount, a.ServiceAccountID)
	return n == 0, nil
}

// Unassign takes a role from an account.
func (tx *Tx) Unassign(ctx context.Context, accountID, roleID string) error {
	if !known(accountID) || !known(roleID) {
		return fault.NotFound(whatAssignment)
	}
	n, err := affected(ctx, tx.db.NewDelete().Model((*assignmentRow)(nil)).
		Where("service_account_id = ?", accountID).Where("role_id = ?", roleID))
	if err != nil {
		return err
	}
	if n == 0 {
		return fault.NotFound(whatAssignment)
	}
	tx.written(ChangedServiceAccount, accountID)
	return nil
}
