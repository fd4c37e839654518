package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
)

// RolesList lists roles.
func (s *server) RolesList(ctx context.Context, r api.RolesListRequestObject) (api.RolesListResponseObject, error) {
	filter := directory.RoleFilter{NamePrefix: value(r.Params.NamePrefix), ResourceServerID: value(r.Params.ResourceServer)}
	page, err := s.Directory.ListRoles(ctx, callOf(ctx).caller, filter, pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	return api.RolesList200JSONResponse{Items: each(page.Items, toRole), NextPageToken: present(page.NextToken)}, nil
}

// RolesCreate creates a role.
func (s *server) RolesCreate(ctx context.Context, r api.RolesCreateRequestObject) (api.RolesCreateResponseObject, error) {
	k := callOf(ctx)
	role, err := s.Directory.CreateRole(ctx, k.caller, k.meta, newRole(r.Body))
	if err != nil {
		return nil, err
	}
	return api.RolesCreate201JSONResponse{
		Body: toRole(role),
		Headers: api.RolesCreate201ResponseHeaders{
			ETag: etagOf(role.Version), Location: s.base + "/v1/roles/" + role.ID,
		},
	}, nil
}

// RolesGet reads a role.
func (s *server) RolesGet(ctx context.Context, r api.RolesGetRequestObject) (api.RolesGetResponseObject, error) {
	role, err := s.Directory.GetRole(ctx, callOf(ctx).caller, r.RoleID)
	if err != nil {
		return nil, err
	}
	return api.RolesGet200JSONResponse{
		Body: toRole(role), Headers: api.RolesGet200ResponseHeaders{ETag: etagOf(role.Version)},
	}, nil
}

// RolesUpdate applies a merge patch to a role.
func (s *server) RolesUpdate(ctx context.Context, r api.RolesUpdateRequestObject) (api.RolesUpdateResponseObject, error) {
	k := callOf(ctx)
	role, err := s.Directory.UpdateRole(ctx, k.caller, k.meta, r.RoleID, versionOf(r.Params.IfMatch), rolePatch(r.Body))
	if err != nil {
		return nil, err
	}
	return api.RolesUpdate200JSONResponse{
		Body: toRole(role), Headers: api.RolesUpdate200ResponseHeaders{ETag: etagOf(role.Version)},
	}, nil
}

// RolesDelete deletes a role.
func (s *server) RolesDelete(ctx context.Context, r api.RolesDeleteRequestObject) (api.RolesDeleteResponseObject, error) {
	k := callOf(ctx)
	if err := s.Directory.DeleteRole(ctx, k.caller, k.meta, r.RoleID, versionOf(r.Params.IfMatch), value(r.Params.Cascade)); err != nil {
		return nil, err
	}
	return api.RolesDelete204Response{}, nil
}
