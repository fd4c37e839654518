package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
)

// ClientSecretsList lists the client secrets of an account.
func (s *server) ClientSecretsList(ctx context.Context, r api.ClientSecretsListRequestObject) (api.ClientSecretsListResponseObject, error) {
	page, err := s.Directory.ListClientSecrets(ctx, callOf(ctx).caller, r.ServiceAccountID,
		pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	return api.ClientSecretsList200JSONResponse{
		Items: each(page.Items, toClientSecret), NextPageToken: present(page.NextToken),
	}, nil
}

// ClientSecretsCreate creates a client secret.
func (s *server) ClientSecretsCreate(ctx context.Context, r api.ClientSecretsCreateRequestObject) (api.ClientSecretsCreateResponseObject, error) {
	k := callOf(ctx)
	in := directory.NewClientSecret{ExpiresAt: value(r.Body.ExpiresAt)}
	issued, err := s.Directory.CreateClientSecret(ctx, k.caller, k.meta, r.ServiceAccountID, in)
	if err != nil {
		return nil, err
	}
	return api.ClientSecretsCreate201JSONResponse{
		Body:    toIssuedClientSecret(issued),
		Headers: api.ClientSecretsCreate201ResponseHeaders{Location: s.clientSecretPath(issued)},
	}, nil
}

// ClientSecretsRotate makes a new client secret and lets old ones end.
func (s *server) ClientSecretsRotate(ctx context.Context, r api.ClientSecretsRotateRequestObject) (api.ClientSecretsRotateResponseObject, error) {
	k := callOf(ctx)
	issued, err := s.Directory.RotateClientSecret(ctx, k.caller, k.meta, r.ServiceAccountID, rotation(r.Body))
	if err != nil {
		return nil, err
	}
	return api.ClientSecretsRotate201JSONResponse{
		Body:    toIssuedClientSecret(issued),
		Headers: api.ClientSecretsRotate201ResponseHeaders{Location: s.clientSecretPath(issued)},
	}, nil
}

// ClientSecretsGet reads a client secret without its text.
func (s *server) ClientSecretsGet(ctx context.Context, r api.ClientSecretsGetRequestObject) (api.ClientSecretsGetResponseObject, error) {
	secret, err := s.Directory.GetClientSecret(ctx, callOf(ctx).caller, r.ServiceAccountID, r.ClientSecretID)
	if err != nil {
		return nil, err
	}
	return api.ClientSecretsGet200JSONResponse(toClientSecret(secret)), nil
}

// ClientSecretsDelete deletes a client secret.
func (s *server) ClientSecretsDelete(ctx context.Context, r api.ClientSecretsDeleteRequestObject) (api.ClientSecretsDeleteResponseObject, error) {
	k := callOf(ctx)
	if err := s.Directory.DeleteClientSecret(ctx, k.caller, k.meta, r.ServiceAccountID, r.ClientSecretID); err != nil {
		return nil, err
	}
	return api.ClientSecretsDelete204Response{}, nil
}

func (s *server) clientSecretPath(issued *directory.IssuedSecret) string {
	return s.base + serviceAccountsPath + issued.ClientSecret.ServiceAccountID + "/client-secrets/" + issued.ClientSecret.ID
}
