package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
)

// ResourceServersList lists resource servers.
func (s *server) ResourceServersList(ctx context.Context, r api.ResourceServersListRequestObject) (api.ResourceServersListResponseObject, error) {
	filter := directory.ResourceServerFilter{Identifier: value(r.Params.Identifier), NamePrefix: value(r.Params.NamePrefix)}
	page, err := s.Directory.ListResourceServers(ctx, callOf(ctx).caller, filter, pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	return api.ResourceServersList200JSONResponse{
		Items: each(page.Items, toResourceServer), NextPageToken: present(page.NextToken),
	}, nil
}

// ResourceServersCreate creates a resource server.
func (s *server) ResourceServersCreate(ctx context.Context, r api.ResourceServersCreateRequestObject) (api.ResourceServersCreateResponseObject, error) {
	k := callOf(ctx)
	rs, err := s.Directory.CreateResourceServer(ctx, k.caller, k.meta, newResourceServer(r.Body))
	if err != nil {
		return nil, err
	}
	return api.ResourceServersCreate201JSONResponse{
		Body: toResourceServer(rs),
		Headers: api.ResourceServersCreate201ResponseHeaders{
			ETag: etagOf(rs.Version), Location: s.base + "/v1/resource-servers/" + rs.ID,
		},
	}, nil
}

// ResourceServersGet reads a resource server.
func (s *server) ResourceServersGet(ctx context.Context, r api.ResourceServersGetRequestObject) (api.ResourceServersGetResponseObject, error) {
	rs, err := s.Directory.GetResourceServer(ctx, callOf(ctx).caller, r.ResourceServerID)
	if err != nil {
		return nil, err
	}
	return api.ResourceServersGet200JSONResponse{
		Body:    toResourceServer(rs),
		Headers: api.ResourceServersGet200ResponseHeaders{ETag: etagOf(rs.Version)},
	}, nil
}

// ResourceServersUpdate applies a merge patch to a resource server.
func (s *server) ResourceServersUpdate(ctx context.Context, r api.ResourceServersUpdateRequestObject) (api.ResourceServersUpdateResponseObject, error) {
	k := callOf(ctx)
	rs, err := s.Directory.UpdateResourceServer(ctx, k.caller, k.meta, r.ResourceServerID,
		versionOf(r.Params.IfMatch), resourceServerPatch(r.Body))
	if err != nil {
		return nil, err
	}
	return api.ResourceServersUpdate200JSONResponse{
		Body:    toResourceServer(rs),
		Headers: api.ResourceServersUpdate200ResponseHeaders{ETag: etagOf(rs.Version)},
	}, nil
}

// ResourceServersDelete deletes a resource server.
func (s *server) ResourceServersDelete(ctx context.Context, r api.ResourceServersDeleteRequestObject) (api.ResourceServersDeleteResponseObject, error) {
	k := callOf(ctx)
	err := s.Directory.DeleteResourceServer(ctx, k.caller, k.meta, r.ResourceServerID, versionOf(r.Params.IfMatch), value(r.Params.Cascade))
	if err != nil {
		return nil, err
	}
	return api.ResourceServersDelete204Response{}, nil
}

// ResourceServersChangePermissions renames and removes declared permissions, or
// tells what that would do.
func (s *server) ResourceServersChangePermissions(ctx context.Context, r api.ResourceServersChangePermissionsRequestObject) (api.ResourceServersChangePermissionsResponseObject, error) {
	k := callOf(ctx)
	report, err := s.Directory.ChangePermissions(ctx, k.caller, k.meta, r.ResourceServerID,
		versionOf(r.Params.IfMatch), permissionChanges(r.Body))
	if err != nil {
		return nil, err
	}
	return api.ResourceServersChangePermissions200JSONResponse{
		Body:    toPermissionChangeReport(report),
		Headers: api.ResourceServersChangePermissions200ResponseHeaders{ETag: etagOf(report.ResourceServer.Version)},
	}, nil
}
