package directory

import (
	"context"
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// RolePatch is a merge patch; Permissions are replaced whole. Null clears
// Description and Permissions and is refused for Name.
type RolePatch struct {
	Name        Patch[string]
	Description Patch[string]
	Permissions Patch[[]identity.RolePermission]
}

func (in *RolePatch) apply(role *identity.Role) (*patching, error) {
	p := &patching{}
	patch(p, "name", &role.Name, in.Name, required)
	patch(p, "description", &role.Description, in.Description, optional)
	patchBy(p, "permissions", &role.Permissions, in.Permissions, optional, sameRolePermissions)
	role.Permissions = slices.Clone(role.Permissions) // the store sorts them in place
	checkRole(&p.findings, role)
	slices.Sort(p.changed)
	return p, p.findings.Err()
}

// sameRolePermissions compares sets: the store keeps no order.
func sameRolePermissions(a, b []identity.RolePermission) bool {
	return len(a) == len(b) && len(addedPermissions(a, b)) == 0
}

// addedPermissions gives what stands in after and not in before.
func addedPermissions(before, after []identity.RolePermission) []identity.RolePermission {
	return slices.DeleteFunc(slices.Clone(after), func(p identity.RolePermission) bool { return slices.Contains(before, p) })
}

// UpdateRole applies a merge patch. Whoever has the role has its new
// permissions with the commit.
func (s *Service) UpdateRole(ctx context.Context, caller *token.Caller, meta Meta, id string, ifMatch *int64, in RolePatch) (*identity.Role, error) {
	var out *identity.Role
	err := s.change(ctx, caller, func(tx *store.Tx) error {
		role, err := changeableRole(ctx, tx, id, ifMatch)
		if err != nil {
			return err
		}
		out = role
		before := *role
		p, err := in.apply(role)
		if err != nil || len(p.changed) == 0 {
			return err
		}
		if p.has("permissions") {
			if err := mayWiden(ctx, tx, caller, &before, role); err != nil {
				return err
			}
		}
		if err := tx.UpdateRole(ctx, role); err != nil {
			return err
		}
		e := event(caller, meta, audit.RoleUpdated)
		e.Subject = id
		e.Details = map[string]string{"changed": joined(p.changed)}
		if p.has("name") {
			e.Details["name"] = role.Name
		}
		gainedAndLost(e.Details, "permissions", rolePermissionNames(before.Permissions), rolePermissionNames(role.Permissions))
		tx.Audit(e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// mayWiden holds new permissions of a role against the rules. Adding to a role
// that one has oneself would be a way around the rule on one's own assignments.
func mayWiden(ctx context.Context, tx *store.Tx, caller *token.Caller, before, after *identity.Role) error {
	if err := checkDeclared(ctx, tx, after.Permissions); err != nil {
		return err
	}
	added := addedPermissions(before.Permissions, after.Permissions)
	if len(added) == 0 {
		return nil
	}
	_, err := tx.Assignment(ctx, caller.ClientID, after.ID)
	if err == nil {
		return ownRights("nobody can widen a role that it has itself")
	}
	if !fault.Is(err, fault.CodeNotFound) {
		return err
	}
	wanted, err := rightsOfPermissions(ctx, tx, added, time.Time{})
	if err != nil {
		return err
	}
	return mayGrant(ctx, tx, caller, wanted)
}
