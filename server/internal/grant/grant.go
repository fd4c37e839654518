// Package grant is the token endpoint behind HTTP: one pipeline that every
// grant runs through, and one file for each grant.
//
// A grant is a set of hooks that the pipeline calls. It cannot forget a step
// that all grants share, because it never runs one.
package grant

import (
	"context"
	"net/netip"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
)

// Params are the parameters of a request.
type Params = clientauth.Params

// Request is one call of the token endpoint.
type Request struct {
	Params    Params
	Presented clientauth.Presented
	Meta

	// Proved is set on the way: the id of the client, once it has proved itself.
	Proved   string
	Standing limit.Standing // set by Issue once the client has proved itself
}

// Meta is what is known of a call beside its parameters.
type Meta struct {
	Address   netip.Addr // of the agent, as far as listed proxies tell
	RequestID string
	TraceID   string
}

// Response is a successful answer (RFC 6749 section 5.1).
type Response struct {
	AccessToken string
	TokenType   string // "Bearer"
	ExpiresIn   int64  // seconds
	Scope       string
	TokenID     string // for logs; not part of the answer
}

// Grant is one way to earn a token.
type Grant struct {
	// Type is the value of grant_type, or what metrics call it where there is none.
	Type string
	// Authorize is the grant's own part. It runs after the client has proved
	// itself and audience and scope are settled; it may refuse or narrow, and it
	// must not write anything.
	Authorize func(ctx context.Context, a *Attempt) error
}

// Attempt is a token request on its way through the pipeline.
type Attempt struct {
	Request        *Request
	Now            time.Time
	Client         clientauth.Client // zero until it has proved itself
	ResourceServer *identity.ResourceServer
	Granted        []string  // all that the account holds at this audience and the credential gives, sorted
	Scopes         []string  // what the token will carry, sorted
	Roles          []string  // names of the roles that grant something there; see [Endpoint.resolve]
	NotAfter       time.Time // the token must end by then; zero: no such bound

	grant      string              // the type of its grant, once that is known
	login      bool                // by API key, not OAuth
	credential identity.Credential // that it has proved itself by, once through the gate

	account  string // id of the known account, proved or not; "" for an unknown client
	tokenID  string // of the token that it signed in with, at another endpoint
	details  map[string]string
	snapshot int64
	began    time.Time // by the clock that measures waiting
	arrival  *audit.Arrival
}
