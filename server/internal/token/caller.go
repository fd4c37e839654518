package token

import (
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// Caller is who calls us, proved by a bearer token for the management audience
// or by client authentication.
type Caller struct {
	ClientID  string
	Principal *store.Principal
	// Scopes are the management permissions that this call may use, sorted: what
	// the account holds now, and with a bearer token no more than the token says.
	Scopes       []string
	Roles        []string // names of the roles that give them now
	CredentialID string
	TokenID      string    // "" when it signed in by client authentication
	ExpiresAt    time.Time // of the token; zero when there is none

	verified *verified // the token; nil when there is none
}

// Has reports whether the caller may use a management permission.
func (c *Caller) Has(permission string) bool {
	_, ok := slices.BinarySearch(c.Scopes, permission)
	return ok
}

// ClientCaller is an account that has just proved itself by client
// authentication: it may use all that it holds and that its credential gives.
func ClientCaller(p *store.Principal, credential *identity.Credential, now time.Time) Caller {
	held, roles := p.Grants[identity.ManagementIdentifier].At(now)
	return Caller{
		ClientID: p.Account.ID, Principal: p, CredentialID: credential.ID,
		Scopes: credential.Narrow(identity.ManagementResourceServerID, held), Roles: roles,
	}
}
