package grant

import (
	"context"

	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/identity"
)

// Login issues a token for an API key, to an agent that knows no OAuth. It is the
// pipeline of [Endpoint.Issue]: the same budgets, gate, rate and record. r.Params
// may have resource and scope; what r presents is the key.
func (e *Endpoint) Login(ctx context.Context, key identity.Secret, r *Request) (*Response, error) {
	r.Presented = clientauth.Presented{Method: clientauth.MethodAPIKey, Secret: key}
	return e.settle(ctx, r, true)
}

// apiKeyLogin is the grant of a login. No grant_type leads to it, since it is not
// among the grants of the token endpoint, and a login leads to no other. All that
// it asks has been asked: the key is proved, and narrows what is granted.
func apiKeyLogin() Grant {
	return Grant{Type: "api_key", Authorize: func(context.Context, *Attempt) error { return nil }}
}
