package httpapi

import (
	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/identity"
)

func toResourceServer(rs *identity.ResourceServer) api.ResourceServer {
	return api.ResourceServer{
		ID:         rs.ID,
		Identifier: rs.Identifier,
		Name:       rs.Name,
		Permissions: each(rs.Permissions, func(p *identity.Permission) api.DeclaredPermission {
			return api.DeclaredPermission{Name: p.Name, Description: present(p.Description)}
		}),
		TokenLifetimeMax:    presentSeconds(rs.TokenLifetimeMax),
		SigningAlg:          api.ResourceServerSigningAlg(rs.SigningAlg),
		SigningAlgEffective: api.ResourceServerSigningAlgEffective(rs.SigningAlgEffective),
		Introspectors:       each(rs.Introspectors, clone),
		BuiltIn:             rs.BuiltIn,
		CreatedAt:           rs.CreatedAt.UTC(),
		UpdatedAt:           rs.UpdatedAt.UTC(),
	}
}

func declaredPermissions(in []api.DeclaredPermission) []identity.Permission {
	return each(in, func(p *api.DeclaredPermission) identity.Permission {
		return identity.Permission{Name: p.Name, Description: value(p.Description)}
	})
}

func newResourceServer(in *api.ResourceServerCreate) directory.NewResourceServer {
	return directory.NewResourceServer{
		Identifier:       in.Identifier,
		Name:             in.Name,
		Permissions:      declaredPermissions(value(in.Permissions)),
		TokenLifetimeMax: seconds(value(in.TokenLifetimeMax)),
		SigningAlg:       string(value(in.SigningAlg)),
		Introspectors:    value(in.Introspectors),
	}
}

func resourceServerPatch(in *api.ResourceServerUpdate) directory.ResourceServerPatch {
	return directory.ResourceServerPatch{
		Name:             patchedValue(in.Name, same),
		Permissions:      patched(in.Permissions, declaredPermissions),
		TokenLifetimeMax: patched(in.TokenLifetimeMax, seconds),
		SigningAlg:       patchedValue(in.SigningAlg, func(a api.ResourceServerUpdateSigningAlg) string { return string(a) }),
		Introspectors:    patched(in.Introspectors, same),
	}
}

func toRole(r *identity.Role) api.Role {
	return api.Role{
		ID:          r.ID,
		Name:        r.Name,
		Description: r.Description,
		Permissions: toRolePermissions(r.Permissions),
		BuiltIn:     r.BuiltIn,
		CreatedAt:   r.CreatedAt.UTC(),
		UpdatedAt:   r.UpdatedAt.UTC(),
	}
}

func toRolePermissions(in []identity.RolePermission) []api.RolePermission {
	return each(in, func(p *identity.RolePermission) api.RolePermission {
		return api.RolePermission{ResourceServer: p.ResourceServerID, Permission: p.Permission}
	})
}

func rolePermissions(in []api.RolePermission) []identity.RolePermission {
	return each(in, func(p *api.RolePermission) identity.RolePermission {
		return identity.RolePermission{ResourceServerID: p.ResourceServer, Permission: p.Permission}
	})
}

func newRole(in *api.RoleCreate) directory.NewRole {
	return directory.NewRole{
		Name:        in.Name,
		Description: value(in.Description),
		Permissions: rolePermissions(value(in.Permissions)),
	}
}

func rolePatch(in *api.RoleUpdate) directory.RolePatch {
	return directory.RolePatch{
		Name:        patchedValue(in.Name, same),
		Description: patched(in.Description, same),
		Permissions: patched(in.Permissions, rolePermissions),
	}
}

func toRoleAssignment(a *identity.Assignment) api.RoleAssignment {
	return api.RoleAssignment{
		ServiceAccount: a.ServiceAccountID,
		Role:           a.RoleID,
		RoleName:       a.RoleName,
		ExpiresAt:      presentTime(a.ExpiresAt),
		CreatedAt:      a.CreatedAt.UTC(),
	}
}

func toEffectivePermission(p *identity.EffectivePermission) api.EffectivePermission {
	return api.EffectivePermission{
		ResourceServer: p.ResourceServerID,
		Audience:       p.Audience,
		Permission:     p.Permission,
		Roles: each(p.Roles, func(r *identity.GivingRole) api.GivingRole {
			return api.GivingRole{Role: r.RoleID, RoleName: r.RoleName, ExpiresAt: presentTime(r.ExpiresAt)}
		}),
		RolesCount: int32(p.RoleCount),
		LastUsedAt: presentTime(p.LastUsedAt),
	}
}
