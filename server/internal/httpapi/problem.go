package httpapi

import (
	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/fault"
)

const problemType = "application/problem+json"

// renderProblem answers with problem details (RFC 9457).
func renderProblem(c *fiber.Ctx, k *call, f *fault.Error) error {
	status := statusOf(f)
	p := api.Problem{
		Type:      "urn:marque:problem:" + string(f.Code),
		Title:     titleOf(f.Code),
		Status:    status,
		Code:      api.ProblemCode(f.Code),
		RequestID: k.meta.RequestID,
	}
	if f.Detail != "" {
		p.Detail = &f.Detail
	}
	if f.Permission != "" {
		p.Permission = &f.Permission
	}
	if f.ID != "" {
		p.ID = &f.ID
	}
	if len(f.Fields) > 0 {
		fields := make([]api.ProblemField, len(f.Fields))
		for i, field := range f.Fields {
			fields[i] = api.ProblemField{Pointer: field.Pointer, Detail: field.Detail}
		}
		p.Errors = &fields
	}
	if f.InUse != nil {
		p.InUse = &api.ProblemInUse{
			Count: int32(f.InUse.Count), // rows that one table holds
			Items: each(f.InUse.First, func(u *fault.User) api.ProblemUser {
				return api.ProblemUser{Kind: u.Kind, ID: u.ID, Name: u.Name}
			}),
		}
	}
	if k.bearerFailed && challenges(f) {
		c.Set(fiber.HeaderWWWAuthenticate, bearerChallenge(f))
	}
	if f.Code == fault.CodeInvalidAPIKey {
		// RFC 9110 section 11.6.1 wants a challenge with every 401. The key goes into
		// the body, for which no scheme is registered.
		c.Set(fiber.HeaderWWWAuthenticate, "APIKey "+realm)
	}
	return c.Status(status).JSON(p, problemType)
}

// titleOf says what a code means, the same each time (RFC 9457 section 3.1.3).
func titleOf(code fault.Code) string {
	switch code {
	case fault.CodeInvalidRequest:
		return "The request is not valid"
	case fault.CodeInvalidPageToken:
		return "The page token is not valid"
	case fault.CodeUnauthenticated:
		return "A token is missing"
	case fault.CodeInvalidToken:
		return "The token is not valid"
	case fault.CodeMalformedAPIKey:
		return "This is no API key"
	case fault.CodeInvalidAPIKey:
		return "The API key is not valid"
	case fault.CodeInvalidTarget:
		return "There is nothing to do there"
	case fault.CodeInvalidScope:
		return "The scope cannot be granted"
	case fault.CodeInsufficientScope:
		return "A permission is missing"
	case fault.CodeGrantExceedsCaller:
		return "Nobody grants what they do not hold"
	case fault.CodeOwnRights:
		return "Nobody changes their own rights"
	case fault.CodeBuiltIn:
		return "What is built in does not change"
	case fault.CodeNotFound:
		return "Not found"
	case fault.CodeMethodNotAllowed:
		return "The method is not allowed"
	case fault.CodeNameTaken:
		return "The name is taken"
	case fault.CodeInUse:
		return "It is in use"
	case fault.CodeLastAdministrator:
		return "The last administrator stays"
	case fault.CodeKindNotAllowed:
		return "The account does not allow this kind of credential"
	case fault.CodeLimitReached:
		return "A limit is reached"
	case fault.CodePreconditionFailed:
		return "The resource has changed"
	case fault.CodeKeyReused:
		return "The idempotency key was used for another request"
	case fault.CodeKeyInProgress:
		return "The first request with this key is still running"
	case fault.CodeSecretAlreadyIssued:
		return "The secret was issued already"
	case fault.CodeActiveKeyChanged:
		return "Another key signs"
	case fault.CodeSigningKeyNotReady:
		return "The next key is not ready"
	case fault.CodeRequestTooLarge:
		return "The request is too large"
	case fault.CodeUnsupportedMediaType:
		return "The content type is not supported"
	case fault.CodeHeaderTooLarge:
		return "The headers are too large"
	case fault.CodeRateLimited:
		return "Too many requests"
	case fault.CodeUnavailable:
		return "The service cannot answer right now"
	}
	return "Something went wrong on our side"
}
