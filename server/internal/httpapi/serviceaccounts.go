package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/identity"
)

// serviceAccountsPath is where service accounts are, below the issuer's path.
const serviceAccountsPath = "/v1/service-accounts/"

// ServiceAccountsList lists service accounts.
func (s *server) ServiceAccountsList(ctx context.Context, r api.ServiceAccountsListRequestObject) (api.ServiceAccountsListResponseObject, error) {
	filter, err := serviceAccountFilter(&r.Params)
	if err != nil {
		return nil, err
	}
	page, err := s.Directory.ListServiceAccounts(ctx, callOf(ctx).caller, filter, pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	return api.ServiceAccountsList200JSONResponse{
		Items: each(page.Items, toServiceAccount), NextPageToken: present(page.NextToken),
	}, nil
}

// ServiceAccountsCreate creates a service account.
func (s *server) ServiceAccountsCreate(ctx context.Context, r api.ServiceAccountsCreateRequestObject) (api.ServiceAccountsCreateResponseObject, error) {
	k := callOf(ctx)
	a, err := s.Directory.CreateServiceAccount(ctx, k.caller, k.meta, newServiceAccount(r.Body))
	if err != nil {
		return nil, err
	}
	return api.ServiceAccountsCreate201JSONResponse{
		Body: toServiceAccount(a),
		Headers: api.ServiceAccountsCreate201ResponseHeaders{
			ETag: etagOf(a.Version), Location: s.base + serviceAccountsPath + a.ID,
		},
	}, nil
}

// ServiceAccountsGet reads a service account.
func (s *server) ServiceAccountsGet(ctx context.Context, r api.ServiceAccountsGetRequestObject) (api.ServiceAccountsGetResponseObject, error) {
	a, err := s.Directory.GetServiceAccount(ctx, callOf(ctx).caller, r.ServiceAccountID)
	if err != nil {
		return nil, err
	}
	return serviceAccount200(a), nil
}

// ServiceAccountsUpdate applies a merge patch to a service account.
func (s *server) ServiceAccountsUpdate(ctx context.Context, r api.ServiceAccountsUpdateRequestObject) (api.ServiceAccountsUpdateResponseObject, error) {
	k := callOf(ctx)
	a, err := s.Directory.UpdateServiceAccount(ctx, k.caller, k.meta, r.ServiceAccountID,
		versionOf(r.Params.IfMatch), serviceAccountPatch(r.Body))
	if err != nil {
		return nil, err
	}
	got := serviceAccount200(a)
	return api.ServiceAccountsUpdate200JSONResponse{
		Body: got.Body, Headers: api.ServiceAccountsUpdate200ResponseHeaders(got.Headers),
	}, nil
}

// ServiceAccountsDelete deletes a service account.
func (s *server) ServiceAccountsDelete(ctx context.Context, r api.ServiceAccountsDeleteRequestObject) (api.ServiceAccountsDeleteResponseObject, error) {
	k := callOf(ctx)
	err := s.Directory.DeleteServiceAccount(ctx, k.caller, k.meta, r.ServiceAccountID, versionOf(r.Params.IfMatch))
	if err != nil {
		return nil, err
	}
	return api.ServiceAccountsDelete204Response{}, nil
}

// ServiceAccountsDisable disables a service account.
func (s *server) ServiceAccountsDisable(ctx context.Context, r api.ServiceAccountsDisableRequestObject) (api.ServiceAccountsDisableResponseObject, error) {
	k := callOf(ctx)
	a, err := s.Directory.DisableServiceAccount(ctx, k.caller, k.meta, r.ServiceAccountID)
	if err != nil {
		return nil, err
	}
	got := serviceAccount200(a)
	return api.ServiceAccountsDisable200JSONResponse{
		Body: got.Body, Headers: api.ServiceAccountsDisable200ResponseHeaders(got.Headers),
	}, nil
}

// ServiceAccountsEnable enables a service account.
func (s *server) ServiceAccountsEnable(ctx context.Context, r api.ServiceAccountsEnableRequestObject) (api.ServiceAccountsEnableResponseObject, error) {
	k := callOf(ctx)
	a, err := s.Directory.EnableServiceAccount(ctx, k.caller, k.meta, r.ServiceAccountID)
	if err != nil {
		return nil, err
	}
	got := serviceAccount200(a)
	return api.ServiceAccountsEnable200JSONResponse{
		Body: got.Body, Headers: api.ServiceAccountsEnable200ResponseHeaders(got.Headers),
	}, nil
}

// ServiceAccountsRevokeTokens kills every token issued to the account so far.
func (s *server) ServiceAccountsRevokeTokens(ctx context.Context, r api.ServiceAccountsRevokeTokensRequestObject) (api.ServiceAccountsRevokeTokensResponseObject, error) {
	k := callOf(ctx)
	a, err := s.Directory.RevokeServiceAccountTokens(ctx, k.caller, k.meta, r.ServiceAccountID)
	if err != nil {
		return nil, err
	}
	return api.ServiceAccountsRevokeTokens200JSONResponse{ServiceAccount: a.ID, Gen: a.Gen}, nil
}

// serviceAccount200 is a service account as all its operations answer it.
func serviceAccount200(a *identity.ServiceAccount) api.ServiceAccountsGet200JSONResponse {
	return api.ServiceAccountsGet200JSONResponse{
		Body:    toServiceAccount(a),
		Headers: api.ServiceAccountsGet200ResponseHeaders{ETag: etagOf(a.Version)},
	}
}
