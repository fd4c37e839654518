package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
)

// APIKeysList lists the API keys of an account.
func (s *server) APIKeysList(ctx context.Context, r api.APIKeysListRequestObject) (api.APIKeysListResponseObject, error) {
	page, err := s.Directory.ListAPIKeys(ctx, callOf(ctx).caller, r.ServiceAccountID,
		pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	return api.APIKeysList200JSONResponse{
		Items: each(page.Items, toAPIKey), NextPageToken: present(page.NextToken),
	}, nil
}

// APIKeysCreate creates an API key.
func (s *server) APIKeysCreate(ctx context.Context, r api.APIKeysCreateRequestObject) (api.APIKeysCreateResponseObject, error) {
	k := callOf(ctx)
	issued, err := s.Directory.CreateAPIKey(ctx, k.caller, k.meta, r.ServiceAccountID, newAPIKey(r.Body))
	if err != nil {
		return nil, err
	}
	return api.APIKeysCreate201JSONResponse{
		Body: toIssuedAPIKey(issued),
		Headers: api.APIKeysCreate201ResponseHeaders{
			ETag: etagOf(issued.APIKey.Version), Location: s.apiKeyPath(issued),
		},
	}, nil
}

// APIKeysRotate makes a new API key and lets the old one end.
func (s *server) APIKeysRotate(ctx context.Context, r api.APIKeysRotateRequestObject) (api.APIKeysRotateResponseObject, error) {
	k := callOf(ctx)
	issued, err := s.Directory.RotateAPIKey(ctx, k.caller, k.meta, r.ServiceAccountID, r.APIKeyID, keyRotation(r.Body))
	if err != nil {
		return nil, err
	}
	return api.APIKeysRotate201JSONResponse{
		Body: toIssuedAPIKey(issued),
		Headers: api.APIKeysRotate201ResponseHeaders{
			ETag: etagOf(issued.APIKey.Version), Location: s.apiKeyPath(issued),
		},
	}, nil
}

// APIKeysGet reads an API key without its text.
func (s *server) APIKeysGet(ctx context.Context, r api.APIKeysGetRequestObject) (api.APIKeysGetResponseObject, error) {
	key, err := s.Directory.GetAPIKey(ctx, callOf(ctx).caller, r.ServiceAccountID, r.APIKeyID)
	if err != nil {
		return nil, err
	}
	return api.APIKeysGet200JSONResponse{
		Body: toAPIKey(key), Headers: api.APIKeysGet200ResponseHeaders{ETag: etagOf(key.Version)},
	}, nil
}

// APIKeysUpdate applies a merge patch to an API key.
func (s *server) APIKeysUpdate(ctx context.Context, r api.APIKeysUpdateRequestObject) (api.APIKeysUpdateResponseObject, error) {
	k := callOf(ctx)
	key, err := s.Directory.UpdateAPIKey(ctx, k.caller, k.meta, r.ServiceAccountID, r.APIKeyID, versionOf(r.Params.IfMatch), apiKeyPatch(r.Body))
	if err != nil {
		return nil, err
	}
	return api.APIKeysUpdate200JSONResponse{
		Body: toAPIKey(key), Headers: api.APIKeysUpdate200ResponseHeaders{ETag: etagOf(key.Version)},
	}, nil
}

// APIKeysDelete deletes an API key.
func (s *server) APIKeysDelete(ctx context.Context, r api.APIKeysDeleteRequestObject) (api.APIKeysDeleteResponseObject, error) {
	k := callOf(ctx)
	if err := s.Directory.DeleteAPIKey(ctx, k.caller, k.meta, r.ServiceAccountID, r.APIKeyID, versionOf(r.Params.IfMatch)); err != nil {
		return nil, err
	}
	return api.APIKeysDelete204Response{}, nil
}

func (s *server) apiKeyPath(issued *directory.IssuedAPIKey) string {
	return s.base + serviceAccountsPath + issued.APIKey.ServiceAccountID + "/api-keys/" + issued.APIKey.ID
}
