package directory

import (
	"context"
	"slices"
	"strconv"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// NewRole is the body of a creation.
type NewRole struct {
	Name        string
	Description string
	Permissions []identity.RolePermission
}

// RoleFilter narrows a list; zero members do not filter.
type RoleFilter struct {
	NamePrefix       string
	ResourceServerID string // grants something there
}

// CreateRole makes a role of permissions that the caller holds.
func (s *Service) CreateRole(ctx context.Context, caller *token.Caller, meta Meta, in NewRole) (*identity.Role, error) {
	role := &identity.Role{Name: in.Name, Description: in.Description, Permissions: slices.Clone(in.Permissions)}
	var f identity.Findings
	checkRole(&f, role)
	return once(ctx, s, caller, meta, f.Err(), func(tx *store.Tx) (*identity.Role, string, error) {
		if err := checkDeclared(ctx, tx, role.Permissions); err != nil {
			return nil, "", err
		}
		// Held now is enough: the role gives nothing until it is assigned, and
		// assigning it asks again, for as long as the assignment lasts.
		wanted, err := rightsOfPermissions(ctx, tx, role.Permissions, tx.Now)
		if err != nil {
			return nil, "", err
		}
		if err := mayGrant(ctx, tx, caller, wanted); err != nil {
			return nil, "", err
		}
		role.ID = identity.NewID(identity.PrefixRole, tx.Now)
		if err := tx.InsertRole(ctx, role); err != nil {
			return nil, "", err
		}
		e := event(caller, meta, audit.RoleCreated)
		e.Subject = role.ID
		e.Details = map[string]string{"name": role.Name, "permissions": joined(rolePermissionNames(role.Permissions))}
		tx.Audit(e)
		return role, role.ID, nil
	})
}

// checkRole checks all of a role that needs no database.
func checkRole(f *identity.Findings, role *identity.Role) {
	f.Slug("/name", role.Name)
	f.Text("/description", role.Description, identity.MaxDescriptionLength)
	checkPermissions(f, role.Permissions)
}

// checkPermissions checks a list of them, of a role or an API key.
func checkPermissions(f *identity.Findings, permissions []identity.RolePermission) {
	if len(permissions) > identity.MaxPermissions {
		f.Add("/permissions", "must not have more than %d items", identity.MaxPermissions)
		return
	}
	seen := make(map[identity.RolePermission]bool, len(permissions))
	for i, p := range permissions {
		at := "/permissions/" + strconv.Itoa(i)
		f.ID(at+"/resource_server", identity.PrefixResourceServer, p.ResourceServerID)
		f.Permission(at+"/permission", p.Permission)
		if seen[p] {
			f.Add(at, "stands in the list twice")
		}
		seen[p] = true
	}
}

// checkDeclared holds the permissions of a role or an API key against what their
// resource servers declare.
func checkDeclared(ctx context.Context, tx *store.Tx, permissions []identity.RolePermission) error {
	var f identity.Findings
	declared := map[string][]string{}
	for i, p := range permissions {
		at := "/permissions/" + strconv.Itoa(i)
		names, known := declared[p.ResourceServerID]
		if !known {
			rs, err := tx.ResourceServer(ctx, p.ResourceServerID)
			switch {
			case fault.Is(err, fault.CodeNotFound):
			case err != nil:
				return err
			default:
				names = append(permissionNames(rs.Permissions), "") // not nil: the resource server is there
			}
			declared[p.ResourceServerID] = names
		}
		if names == nil {
			f.Add(at+"/resource_server", "there is no such resource server")
		} else if !slices.Contains(names, p.Permission) {
			f.Add(at+"/permission", "is not declared by the resource server")
		}
	}
	return f.Err()
}

// rolePermissionNames write a role's permissions as rs_…/name, sorted.
func rolePermissionNames(permissions []identity.RolePermission) []string {
	out := make([]string, 0, len(permissions))
	for _, p := range permissions {
		out = append(out, p.ResourceServerID+"/"+p.Permission)
	}
	slices.Sort(out)
	return out
}

// GetRole reads one role.
func (s *Service) GetRole(ctx context.Context, _ *token.Caller, id string) (*identity.Role, error) {
	var role *identity.Role
	err := s.store.View(ctx, func(r *store.Reader) (err error) {
		role, err = readRole(ctx, r, id)
		return err
	})
	return role, err
}

func readRole(ctx context.Context, r *store.Reader, id string) (*identity.Role, error) {
	if err := identity.ParseID(identity.PrefixRole, id); err != nil {
		return nil, err
	}
	return r.Role(ctx, id)
}

// ListRoles lists roles, the built-in ones first.
func (s *Service) ListRoles(ctx context.Context, _ *token.Caller, filter RoleFilter, ask PageRequest) (Page[identity.Role], error) {
	var f identity.Findings
	f.Text("?name_prefix", filter.NamePrefix, identity.MaxNameLength)
	if filter.ResourceServerID != "" {
		f.ID("?resource_server", identity.PrefixResourceServer, filter.ResourceServerID)
	}
	if err := f.Err(); err != nil {
		return Page[identity.Role]{}, err
	}
	l := list("roles", filter, isID(identity.PrefixRole))
	return viewPage(ctx, s, l, ask, func(r *store.Reader, at store.Page) ([]identity.Role, bool, error) {
		return r.Roles(ctx, store.RoleFilter(filter), at)
	}, func(r *identity.Role) string { return r.ID })
}

// DeleteRole removes a role that nobody has or, with cascade, takes it from all
// who have it.
func (s *Service) DeleteRole(ctx context.Context, caller *token.Caller, meta Meta, id string, ifMatch *int64, cascade bool) error {
	return s.change(ctx, caller, func(tx *store.Tx) error {
		role, err := changeableRole(ctx, tx, id, ifMatch)
		if err != nil {
			return err
		}
		holders, err := tx.RoleUse(ctx, id)
		if err != nil {
			return err
		}
		if !cascade {
			if err := inUse("the role", "cascade=true takes it from them", use{"service account(s)", holders}); err != nil {
				return err
			}
		}
		unassigned, err := s.unassignAll(ctx, tx, caller, meta, role)
		if err != nil {
			return err
		}
		if err := tx.DeleteRole(ctx, role); err != nil {
			return err
		}
		e := event(caller, meta, audit.RoleDeleted)
		e.Subject = id
		e.Details = map[string]string{"name": role.Name}
		counted(e.Details, "unassigned", unassigned)
		tx.Audit(e)
		return nil
	})
}

func changeableRole(ctx context.Context, tx *store.Tx, id string, ifMatch *int64) (*identity.Role, error) {
	role, err := readRole(ctx, tx.Reader, id)
	if err != nil {
		return nil, err
	}
	if role.BuiltIn {
		return nil, builtIn("role")
	}
	return role, matches(ifMatch, role.Version)
}
