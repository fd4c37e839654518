package httpapi

import (
	"crypto/sha256"
	"encoding/json"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// idempotencyKey is the header by which a request is known when it is sent again.
const idempotencyKey = "Idempotency-Key"

// requestKey is the key of a request that has been validated. Every operation
// that takes the header gets it this way, with what the call brings along: no
// handler can forget it.
//
// The digest covers all that the request asks for: its method, its path with the
// ids in it, its query, and its body as it was understood, so that neither white
// space nor the order of members makes another request of it. Headers are not in
// it: the bearer token of a later attempt may be another one.
func requestKey(c *fiber.Ctx, e *endpoint) (identity.RequestKey, error) {
	values := headerValues(c.Context(), idempotencyKey)
	if len(values) == 0 {
		return identity.RequestKey{}, nil
	}
	query, err := url.ParseQuery(string(c.Request().URI().QueryString()))
	if err != nil {
		return identity.RequestKey{}, fault.Internal(err) // it has been validated
	}
	// Members of objects are written in the order of their names.
	meaning, err := json.Marshal([]any{c.Method(), c.Path(), query.Encode(), c.Locals(validatedBody)})
	if err != nil {
		return identity.RequestKey{}, fault.Internal(err)
	}
	return identity.RequestKey{Operation: e.ID, Key: values[0], Digest: sha256.Sum256(meaning)}, nil
}
