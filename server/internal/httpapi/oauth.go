package httpapi

import (
	"context"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/token"
)

// TokensIssue hands a token request to the pipeline, which answers after its
// decision is on record.
func (s *server) TokensIssue(ctx context.Context, _ api.TokensIssueRequestObject) (api.TokensIssueResponseObject, error) {
	k := callOf(ctx)
	request := grant.Request{Params: k.form, Presented: k.client, Meta: k.grantMeta()}
	r, err := s.Grants.Issue(ctx, &request)
	return k.issued(&request, r, err)
}

// issued is the answer of the pipeline.
func (k *call) issued(request *grant.Request, r *grant.Response, err error) (issued, error) {
	k.seen.client, k.standing = request.Proved, request.Standing
	if err != nil {
		return issued{}, err
	}
	return issued{AccessToken: r.AccessToken, TokenType: r.TokenType, ExpiresIn: r.ExpiresIn, Scope: r.Scope}, nil
}

// TokensIntrospect describes a token.
func (s *server) TokensIntrospect(ctx context.Context, _ api.TokensIntrospectRequestObject) (api.TokensIntrospectResponseObject, error) {
	k := callOf(ctx)
	raw, err := k.formToken()
	if err != nil {
		return nil, err
	}
	found, err := s.Tokens.Introspect(ctx, k.caller, raw)
	if err != nil {
		return nil, err
	}
	s.remember(k, &found)
	return introspected(found), nil
}

// TokensRevoke ends a token.
func (s *server) TokensRevoke(ctx context.Context, _ api.TokensRevokeRequestObject) (api.TokensRevokeResponseObject, error) {
	k := callOf(ctx)
	raw, err := k.formToken()
	if err != nil {
		return nil, err
	}
	if err := s.Tokens.Revoke(ctx, k.caller, raw, k.meta); err != nil {
		return nil, err
	}
	return api.TokensRevoke200Response{}, nil
}

// issued is the successful answer of the token endpoint and of the login (RFC
// 6749 section 5.1).
type issued api.TokenResponse

// VisitTokensIssueResponse sends the token to the one who asked for it, and to
// no cache, old ones included.
func (r issued) VisitTokensIssueResponse(c *fiber.Ctx) error { return r.send(c) }

// VisitTokensLoginResponse does the same.
func (r issued) VisitTokensLoginResponse(c *fiber.Ctx) error { return r.send(c) }

func (r issued) send(c *fiber.Ctx) error {
	c.Set(fiber.HeaderPragma, "no-cache")
	return c.JSON(api.TokenResponse(r))
}

// introspected is the answer of RFC 7662 section 2.2. It has as many members as
// the token has claims, so that it is written by who has them.
type introspected token.Introspection

// VisitTokensIntrospectResponse sends the answer.
func (r introspected) VisitTokensIntrospectResponse(c *fiber.Ctx) error {
	r.write(&c.Context().Response)
	return nil
}

func (r introspected) write(to *fasthttp.Response) {
	to.Header.SetContentType(fiber.MIMEApplicationJSON)
	found := token.Introspection(r)
	var space [1 << 10]byte
	to.SetBody(found.AppendJSON(space[:0])) // copies: no need for the heap
}
