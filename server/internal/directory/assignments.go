package directory

import (
	"context"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// NewAssignment is the body of an assignment.
type NewAssignment struct {
	ExpiresAt time.Time // zero: for good
	// IfMatch is the version of the assignment that must be there, or [AnyVersion];
	// nil: whether or not one is there.
	IfMatch *int64
}

// AssignRole gives a role to an account, or changes when it ends. Giving what
// is there already changes nothing.
func (s *Service) AssignRole(ctx context.Context, caller *token.Caller, meta Meta, accountID, roleID string, in NewAssignment) (*identity.Assignment, error) {
	var f identity.Findings
	end := instant(in.ExpiresAt)
	f.Future("/expires_at", end, s.clock.Now())
	if err := f.Err(); err != nil {
		return nil, err
	}
	var out *identity.Assignment
	err := s.change(ctx, caller, func(tx *store.Tx) error {
		role, err := assignable(ctx, tx, caller, accountID, roleID)
		if err != nil {
			return err
		}
		there, err := assignment(ctx, tx, accountID, roleID)
		if err != nil {
			return err
		}
		if in.IfMatch != nil && there == nil {
			return fault.Precondition()
		}
		if there != nil {
			if err := matches(in.IfMatch, there.Version()); err != nil {
				return err
			}
		}
		wanted, err := rightsOfPermissions(ctx, tx, role.Permissions, end)
		if err != nil {
			return err
		}
		if err := mayGrant(ctx, tx, caller, wanted); err != nil {
			return err
		}
		if there != nil && there.ExpiresAt.Equal(end) {
			out = there
			return nil
		}
		a := &identity.Assignment{ServiceAccountID: accountID, RoleID: roleID, RoleName: role.Name, ExpiresAt: end, CreatedAt: tx.Now}
		err = keepAdministrator(ctx, tx, accountID, func() error {
			_, err := tx.Assign(ctx, a)
			return err
		})
		if err != nil {
			return err
		}
		e := event(caller, meta, audit.RoleAssigned)
		e.AccountID, e.Subject = accountID, roleID
		e.Details = map[string]string{"role": role.Name, "expires_at": written(end)}
		tx.Audit(e)
		out, err = tx.Assignment(ctx, accountID, roleID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// assignment is the assignment that is there, or nil.
func assignment(ctx context.Context, tx *store.Tx, accountID, roleID string) (*identity.Assignment, error) {
	a, err := tx.Assignment(ctx, accountID, roleID)
	if fault.Is(err, fault.CodeNotFound) {
		return nil, nil
	}
	return a, err
}

// assignable reads account and role of an assignment that the caller may touch
// at all: not one of its own.
func assignable(ctx context.Context, tx *store.Tx, caller *token.Caller, accountID, roleID string) (*identity.Role, error) {
	if _, err := readAccount(ctx, tx.Reader, accountID); err != nil {
		return nil, err
	}
	if accountID == caller.ClientID {
		return nil, ownRights("nobody can change its own roles")
	}
	return readRole(ctx, tx.Reader, roleID)
}

func ownRights(detail string) error {
	return fault.New(fault.KindDenied, fault.CodeOwnRights, "%s: another administrator must do it", detail)
}

// UnassignRole takes a role from an account. Tokens that were issued for it
// keep their scope until they end, for introspection too; only the management
// API looks at what the account holds now.
func (s *Service) UnassignRole(ctx context.Context, caller *token.Caller, meta Meta, accountID, roleID string, ifMatch *int64) error {
	return s.change(ctx, caller, func(tx *store.Tx) error {
		role, err := assignable(ctx, tx, caller, accountID, roleID)
		if err != nil {
			return err
		}
		there, err := tx.Assignment(ctx, accountID, roleID)
		if err != nil {
			return err
		}
		if err := matches(ifMatch, there.Version()); err != nil {
			return err
		}
		err = keepAdministrator(ctx, tx, accountID, func() error { return tx.Unassign(ctx, accountID, roleID) })
		if err != nil {
			return err
		}
		e := event(caller, meta, audit.RoleUnassigned)
		e.AccountID, e.Subject = accountID, roleID
		e.Details = map[string]string{"role": role.Name}
		tx.Audit(e)
		return nil
	})
}

// GetAssignment reads the assignment of one role, which may have ended.
func (s *Service) GetAssignment(ctx context.Context, _ *token.Caller, accountID, roleID string) (*identity.Assignment, error) {
	var a *identity.Assignment
	err := s.store.View(ctx, func(r *store.Reader) (err error) {
		if _, err = readAccount(ctx, r, accountID); err != nil {
			return err
		}
		if err = identity.ParseID(identity.PrefixRole, roleID); err != nil {
			return err
		}
		a, err = r.Assignment(ctx, accountID, roleID)
		return err
	})
	return a, err
}

// AssignmentFilter narrows a list; zero members do not filter.
type AssignmentFilter struct {
	ExpiresBefore time.Time // ends, or has ended, before then
}

// ListAssignments lists the roles of an account, those that have ended included.
func (s *Service) ListAssignments(ctx context.Context, _ *token.Caller, accountID string, filter AssignmentFilter, ask PageRequest) (Page[identity.Assignment], error) {
	filter.ExpiresBefore = instant(filter.ExpiresBefore)
	l := list("assignments", []any{accountID, filter}, isID(identity.PrefixRole))
	return viewPage(ctx, s, l, ask, func(r *store.Reader, at store.Page) ([]identity.Assignment, bool, error) {
		if _, err := readAccount(ctx, r, accountID); err != nil {
			return nil, false, err
		}
		return r.Assignments(ctx, accountID, store.AssignmentFilter(filter), at)
	}, func(a *identity.Assignment) string { return a.RoleID })
}
