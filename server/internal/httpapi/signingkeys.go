package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
)

// SigningKeysList lists the keys that sign tokens.
func (s *server) SigningKeysList(ctx context.Context, r api.SigningKeysListRequestObject) (api.SigningKeysListResponseObject, error) {
	filter := directory.SigningKeyFilter{Algorithm: string(value(r.Params.Algorithm)), State: string(value(r.Params.State))}
	page, err := s.Directory.ListSigningKeys(ctx, callOf(ctx).caller, filter, pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	items, err := toSigningKeys(page.Items)
	if err != nil {
		return nil, err
	}
	return api.SigningKeysList200JSONResponse{Items: items, NextPageToken: present(page.NextToken)}, nil
}

// SigningKeysGet reads a signing key.
func (s *server) SigningKeysGet(ctx context.Context, r api.SigningKeysGetRequestObject) (api.SigningKeysGetResponseObject, error) {
	key, err := s.Directory.GetSigningKey(ctx, callOf(ctx).caller, r.Kid)
	if err != nil {
		return nil, err
	}
	out, err := toSigningKey(key)
	return api.SigningKeysGet200JSONResponse(out), err
}

// SigningKeysRotate lets a prepared key take over.
func (s *server) SigningKeysRotate(ctx context.Context, r api.SigningKeysRotateRequestObject) (api.SigningKeysRotateResponseObject, error) {
	k := callOf(ctx)
	in := directory.SigningKeyRotation{Algorithm: string(value(r.Body.Algorithm)), ExpectedActiveKID: r.Body.ExpectedActiveKid}
	key, err := s.Directory.RotateSigningKey(ctx, k.caller, k.meta, in)
	if err != nil {
		return nil, err
	}
	out, err := toSigningKey(key)
	return api.SigningKeysRotate200JSONResponse(out), err
}

// SigningKeysRevoke ends a signing key and all tokens that it signed.
func (s *server) SigningKeysRevoke(ctx context.Context, r api.SigningKeysRevokeRequestObject) (api.SigningKeysRevokeResponseObject, error) {
	k := callOf(ctx)
	key, err := s.Directory.RevokeSigningKey(ctx, k.caller, k.meta, r.Kid)
	if err != nil {
		return nil, err
	}
	out, err := toSigningKey(key)
	return api.SigningKeysRevoke200JSONResponse(out), err
}
