package httpapi

import (
	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/identity"
)

func permissionChanges(in *api.PermissionChanges) directory.PermissionChanges {
	return directory.PermissionChanges{
		Rename: each(value(in.Rename), func(r *api.PermissionRenaming) identity.Renaming {
			return identity.Renaming{From: r.From, To: r.To}
		}),
		Remove: value(in.Remove),
		DryRun: value(in.DryRun),
	}
}

func toPermissionChangeReport(r *directory.PermissionChangeReport) api.PermissionChangeReport {
	return api.PermissionChangeReport{
		Applied:        r.Applied,
		ResourceServer: toResourceServer(r.ResourceServer),
		Roles:          each(r.Roles, toChangedRole),
		Losses: api.PermissionLosses{
			Count: int32(r.Losses.Count), // pairs of 500 permissions and accounts in one table
			Items: each(r.Losses.First, toPermissionLoss),
		},
	}
}

func toChangedRole(r *directory.ChangedRole) api.ChangedRole {
	return api.ChangedRole{
		Role:     r.ID,
		RoleName: r.Name,
		Renamed: each(r.Renamed, func(r *identity.Renaming) api.PermissionRenaming {
			return api.PermissionRenaming{From: r.From, To: r.To}
		}),
		Removed: each(r.Removed, clone),
	}
}

func toPermissionLoss(l *directory.Loss) api.PermissionLoss {
	return api.PermissionLoss{
		ServiceAccount: l.ServiceAccountID,
		Name:           l.AccountName,
		Permission:     l.Permission,
		Roles:          each(l.RoleNames, clone),
	}
}
