package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
)

// CredentialsList lists the credentials of all accounts.
func (s *server) CredentialsList(ctx context.Context, r api.CredentialsListRequestObject) (api.CredentialsListResponseObject, error) {
	page, err := s.Directory.ListCredentials(ctx, callOf(ctx).caller, credentialFilter(&r.Params),
		pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	return api.CredentialsList200JSONResponse{
		Items: each(page.Items, toCredential), NextPageToken: present(page.NextToken),
	}, nil
}
