package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/identity"
)

// TokensLogin hands an API key to the pipeline that token requests run through.
func (s *server) TokensLogin(ctx context.Context, r api.TokensLoginRequestObject) (api.TokensLoginResponseObject, error) {
	k := callOf(ctx)
	request := grant.Request{Params: loginParams(r.Body), Meta: k.grantMeta()}
	out, err := s.Grants.Login(ctx, identity.NewSecretValue(r.Body.APIKey), &request)
	return k.issued(&request, out, err)
}
