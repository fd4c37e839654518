// Package clientauth proves that a request comes from the service account it
// names (RFC 6749 section 2.3), or that the API key it carries belongs to. It has
// two entries, [Authenticator.Authenticate] for OAuth and
// [Authenticator.AuthenticateKey] for the login, and one file for each method.
package clientauth

import (
	"context"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
)

// Method names a way to authenticate, as in the IANA registry "OAuth Token
// Endpoint Authentication Methods"; an API key has none there.
type Method string

// The methods that are built. MethodNone stands for a request that presents no
// client authentication at all.
const (
	MethodNone  Method = ""
	MethodBasic Method = "client_secret_basic"
	MethodForm  Method = "client_secret_post"

	MethodAPIKey Method = "api_key" // of AuthenticateKey alone
)

// Presented is what a request brings to prove who sends it. Nothing in it has
// been checked: ClientID is any text, and so is the secret.
type Presented struct {
	Method   Method
	ClientID string
	Secret   identity.Secret
	mac      *[32]byte // of a secret that is no longer here: see WithoutSecret
	// Challenge tells that the Authorization header was used, so that a refusal
	// has to carry WWW-Authenticate (RFC 6749 section 5.2).
	Challenge bool
}

// Client is a service account that has proved itself, and with what.
type Client struct {
	Principal    *store.Principal
	CredentialID string
	Method       Method
}

// Reason says why an authentication failed. It goes into the audit log and
// never to the caller, who always gets the same fault.
type Reason string

// The reasons.
const (
	ReasonNoCredentials     Reason = "no_credentials"
	ReasonUnknownClient     Reason = "unknown_client"
	ReasonMalformedSecret   Reason = "malformed_secret"
	ReasonWrongSecret       Reason = "wrong_secret"
	ReasonMalformedAPIKey   Reason = "malformed_api_key"
	ReasonUnknownAPIKey     Reason = "unknown_api_key"
	ReasonCredentialExpired Reason = "credential_expired"
)

// Failure is the private cause of the fault that Authenticate returns.
type Failure struct {
	Reason       Reason
	AccountID    string // the account, when there is one; else ""
	CredentialID string // the credential, when it was recognised but refused
}

// Error makes a Failure the cause of a fault.
func (f *Failure) Error() string { return "client authentication: " + string(f.Reason) }

// Authenticator checks what clients present.
type Authenticator struct {
	store *store.Store
	keys  *keyring.Keyring
}

// New makes an Authenticator. It keeps no state of its own.
func New(st *store.Store, keys *keyring.Keyring) *Authenticator {
	return &Authenticator{store: st, keys: keys}
}

// Authenticate proves the client, or refuses, by what holds at the given time.
// Every refusal is the same fault, [fault.InvalidClient], whose cause is a
// [*Failure]; any other fault means that the question could not be answered. It
// says nothing about the account's status: that gate comes after.
func (a *Authenticator) Authenticate(ctx context.Context, p *Presented, now time.Time) (Client, error) {
	switch p.Method {
	case MethodBasic, MethodForm:
		return a.clientSecret(ctx, p, now)
	default:
		return Client{}, refuse(Failure{Reason: ReasonNoCredentials})
	}
}

func refuse(f Failure) error { return fault.InvalidClient().Because(&f) }
