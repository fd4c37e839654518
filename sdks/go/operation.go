package marque

import (
	"net/http"
	"net/url"
)

// authentication is how the caller of an operation proves who it is.
type authentication uint8

const (
	authNone   authentication = iota
	authBearer                // a token for Marque's management API
	authClient                // the client's own credential: the OAuth endpoints
)

// The content types of request bodies.
const (
	contentJSON       = "application/json"
	contentMergePatch = "application/merge-patch+json"
	contentForm       = "application/x-www-form-urlencoded"
)

// operation is what openapi.yaml says about one operation.
type operation struct {
	id          string // operationId, "service_accounts.create"
	method      string
	path        string // template, "/v1/service-accounts/{service_account_id}"
	auth        authentication
	idempotent  bool   // may be sent again without harm (RFC 9110 section 9.2.2, x-idempotent)
	contentType string // of the request body; "" when it takes none
	oauth       bool   // about tokens: shorter timeout, smaller answers, no Idempotency-Key
}

// input is what one call adds to its operation.
type input struct {
	path   map[string]string // by name of the template, not yet escaped
	query  url.Values
	header http.Header
	body   any        // encoded as JSON; nil for no body
	form   url.Values // instead of body where contentType is contentForm
	// fresh makes the body, instead of body, anew for each attempt: it holds what
	// may have been rotated meanwhile.
	fresh func() (any, error)
	opts  []CallOption
}
