package marque

import (
	"log/slog"
	"net/http"
	"time"
)

// Config says which Marque a [Client] calls, and as whom. The zero Config works
// where the environment or a profile says it.
//
// Issuer, CAFile and Credential are each looked for in this order: here, in the
// environment (MARQUE_ISSUER; MARQUE_CA_FILE; MARQUE_CLIENT_ID with
// MARQUE_CLIENT_SECRET_FILE or MARQUE_CLIENT_SECRET, or MARQUE_API_KEY_FILE or
// MARQUE_API_KEY alone), and in a profile of $XDG_CONFIG_HOME/marque/config.json, or ~/.config/marque/config.json. A
// credential out of a profile is sent to that profile's issuer only.
type Config struct {
	// Issuer is the https URL of the server, as it stands in the iss of its tokens.
	Issuer string
	// CAFile is a PEM file with the only authorities that are trusted to vouch for
	// the server. Without it those of the system are.
	CAFile string
	// Credential proves who the client is, such as SecretFileCredential or
	// APIKeyFileCredential.
	Credential Credential
	// Profile names a profile to use instead of what the environment says. Without
	// it MARQUE_PROFILE chooses one, else the profile file's own current one.
	Profile string

	// HTTPClient makes the requests; nil is one of the SDK's own. Redirects and
	// cookies are off whatever it says, and CAFile cannot be set beside it.
	HTTPClient *http.Client
	// Timeout limits each attempt of a call; 0 is 30 s.
	Timeout time.Duration
	// TokenTimeout does the same for the token endpoint and its neighbours; 0 is 10 s.
	TokenTimeout time.Duration
	// MaxRetries is how often a call that failed for a passing reason is repeated,
	// where that is safe; 0 is 2, a negative number is never.
	MaxRetries int
	// RefreshWindows says when tokens are renewed; nil is the policy of TokenSource.
	RefreshWindows *RefreshWindows

	// BeforeAttempt is called with each request before it is sent and may add
	// headers to it. It sees no credential in the headers: they are set afterwards.
	BeforeAttempt func(*http.Request)
	// AfterAttempt is called after each request.
	AfterAttempt func(Attempt)
	// Logger is told about each attempt at level debug, and about repetitions and
	// tokens that could not be had at level warn. Nil is silence. No header, query,
	// body, token or secret is ever logged.
	Logger *slog.Logger
	// Clock is for tests; nil is the system's.
	Clock Clock
}

// Attempt is one request of a call, for Config.AfterAttempt.
type Attempt struct {
	Operation string // the operationId, such as "service_accounts.create"
	Number    int    // counted from 1
	Method    string
	Path      string
	Status    int // 0 when no answer came
	RequestID string
	Duration  time.Duration
	Err       error // nil when the attempt succeeded
}

const (
	defaultTimeout      = 30 * time.Second
	defaultTokenTimeout = 10 * time.Second
	defaultRetries      = 2
)
