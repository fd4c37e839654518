package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
)

// MetadataGet answers with the metadata of the authorization server.
func (s *server) MetadataGet(context.Context, api.MetadataGetRequestObject) (api.MetadataGetResponseObject, error) {
	return s.metadata()
}

// MetadataGetOpenid answers with the same metadata under OpenID Connect's name.
func (s *server) MetadataGetOpenid(context.Context, api.MetadataGetOpenidRequestObject) (api.MetadataGetOpenidResponseObject, error) {
	return s.metadata()
}

// JwksGet answers with the public keys.
func (s *server) JwksGet(context.Context, api.JwksGetRequestObject) (api.JwksGetResponseObject, error) {
	body, etag := s.Keys.JWKS()
	return document{body: body, etag: etag, cacheControl: publicFor(s.Keys.Policy().MaxAge)}, nil
}

// ContractGet answers with the contract.
func (s *server) ContractGet(context.Context, api.ContractGetRequestObject) (api.ContractGetResponseObject, error) {
	return s.openapi, nil
}

// metadata names the algorithms of the keys that are published now.
func (s *server) metadata() (document, error) {
	return metadataDocument(s.Issuer, s.Keys.Algorithms(), s.Keys.Policy().MaxAge)
}
