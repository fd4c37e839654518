package httpapi

import (
	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/fault"
)

// renderOAuthError answers as RFC 6749 section 5.2 wants.
func renderOAuthError(c *fiber.Ctx, k *call, f *fault.Error) error {
	body := api.OAuthError{Error: oauthCode(f.Code)}
	if description := asDescription(f.Detail); description != "" {
		body.ErrorDescription = &description
	}
	c.Set(fiber.HeaderPragma, "no-cache")
	switch {
	case k.bearerFailed && challenges(f):
		c.Set(fiber.HeaderWWWAuthenticate, bearerChallenge(f))
	case f.Code == fault.CodeInvalidClient && k.usedHeader:
		// Whatever scheme was tried: Basic is the one that clients can use here.
		c.Set(fiber.HeaderWWWAuthenticate, "Basic "+realm+`, charset="UTF-8"`)
	}
	return c.Status(oauthStatus(f)).JSON(body)
}

// oauthStatus is 400 for what is wrong with the request itself, a form of the
// wrong type included: OAuth clients know no other status for it.
func oauthStatus(f *fault.Error) int {
	if f.Code == fault.CodeUnsupportedMediaType {
		return fiber.StatusBadRequest
	}
	return statusOf(f)
}

// oauthCode is the error of RFC 6749 section 5.2 that a code stands for. For
// failures of ours there is none, so they take the names of section 4.1.2.1.
func oauthCode(code fault.Code) string {
	switch code {
	case fault.CodeInternal:
		return "server_error"
	case fault.CodeUnavailable:
		return "temporarily_unavailable"
	case fault.CodeNotFound, fault.CodeMethodNotAllowed, fault.CodeRequestTooLarge,
		fault.CodeHeaderTooLarge, fault.CodeUnsupportedMediaType:
		return string(fault.CodeInvalidRequest)
	case fault.CodeUnauthenticated:
		// Nothing was presented, which is no token that could be invalid. Of that
		// section's codes it is the one for "no client authentication included".
		return string(fault.CodeInvalidClient)
	}
	return string(code)
}
