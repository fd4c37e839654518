package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
)

// EffectivePermissionsList lists what an account may do, and by which roles.
func (s *server) EffectivePermissionsList(ctx context.Context, r api.EffectivePermissionsListRequestObject) (api.EffectivePermissionsListResponseObject, error) {
	filter := directory.EffectiveFilter{ResourceServerID: value(r.Params.ResourceServer), UnusedSince: value(r.Params.UnusedSince)}
	page, err := s.Directory.ListEffectivePermissions(ctx, callOf(ctx).caller, r.ServiceAccountID, filter,
		pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	return api.EffectivePermissionsList200JSONResponse{
		Items: each(page.Items, toEffectivePermission), NextPageToken: present(page.NextToken),
	}, nil
}
