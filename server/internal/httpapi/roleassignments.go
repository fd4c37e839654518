package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
)

// RoleAssignmentsList lists the roles of an account.
func (s *server) RoleAssignmentsList(ctx context.Context, r api.RoleAssignmentsListRequestObject) (api.RoleAssignmentsListResponseObject, error) {
	filter := directory.AssignmentFilter{ExpiresBefore: value(r.Params.ExpiresBefore)}
	page, err := s.Directory.ListAssignments(ctx, callOf(ctx).caller, r.ServiceAccountID, filter,
		pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	return api.RoleAssignmentsList200JSONResponse{
		Items: each(page.Items, toRoleAssignment), NextPageToken: present(page.NextToken),
	}, nil
}

// RoleAssignmentsGet reads the assignment of a role.
func (s *server) RoleAssignmentsGet(ctx context.Context, r api.RoleAssignmentsGetRequestObject) (api.RoleAssignmentsGetResponseObject, error) {
	assignment, err := s.Directory.GetAssignment(ctx, callOf(ctx).caller, r.ServiceAccountID, r.RoleID)
	if err != nil {
		return nil, err
	}
	return api.RoleAssignmentsGet200JSONResponse{
		Body:    toRoleAssignment(assignment),
		Headers: api.RoleAssignmentsGet200ResponseHeaders{ETag: etagOf(assignment.Version())},
	}, nil
}

// RoleAssignmentsPut gives a role to an account, or changes when it ends.
func (s *server) RoleAssignmentsPut(ctx context.Context, r api.RoleAssignmentsPutRequestObject) (api.RoleAssignmentsPutResponseObject, error) {
	k := callOf(ctx)
	in := directory.NewAssignment{ExpiresAt: value(r.Body.ExpiresAt), IfMatch: existingVersionOf(r.Params.IfMatch)}
	assignment, err := s.Directory.AssignRole(ctx, k.caller, k.meta, r.ServiceAccountID, r.RoleID, in)
	if err != nil {
		return nil, err
	}
	return api.RoleAssignmentsPut200JSONResponse{
		Body:    toRoleAssignment(assignment),
		Headers: api.RoleAssignmentsPut200ResponseHeaders{ETag: etagOf(assignment.Version())},
	}, nil
}

// RoleAssignmentsDelete takes a role away from an account.
func (s *server) RoleAssignmentsDelete(ctx context.Context, r api.RoleAssignmentsDeleteRequestObject) (api.RoleAssignmentsDeleteResponseObject, error) {
	k := callOf(ctx)
	err := s.Directory.UnassignRole(ctx, k.caller, k.meta, r.ServiceAccountID, r.RoleID, versionOf(r.Params.IfMatch))
	if err != nil {
		return nil, err
	}
	return api.RoleAssignmentsDelete204Response{}, nil
}
