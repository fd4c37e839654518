package directory

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// Whoami tells a caller who it is and what it may do.
type Whoami struct {
	Account      *identity.ServiceAccount
	CredentialID string
	TokenID      string
	ExpiresAt    time.Time   // of the token
	Scopes       []string    // what this very token may do at the management API, sorted
	Grants       []HeldGrant // what may be asked for by the credential, in the order of audiences
}

// HeldGrant is what an account holds at one resource server now and its credential
// gives.
type HeldGrant struct {
	ResourceServerID string
	Audience         string
	Permissions      []string // sorted
	Roles            []string // names, sorted
}

// GetWhoami reads the account, and answers the rest from what the caller's
// sign-in has read already.
func (s *Service) GetWhoami(ctx context.Context, caller *token.Caller) (*Whoami, error) {
	p := caller.Principal
	var account *identity.ServiceAccount
	if err := s.store.View(ctx, func(r *store.Reader) (err error) {
		account, err = r.ServiceAccount(ctx, caller.ClientID)
		return err
	}); err != nil {
		return nil, err
	}
	out := &Whoami{
		Account: account, CredentialID: caller.CredentialID, TokenID: caller.TokenID,
		ExpiresAt: caller.ExpiresAt, Scopes: caller.Scopes,
	}
	now := s.clock.Now()
	credential, _ := p.Credential(caller.CredentialID) // it has just signed in by it
	for _, audience := range slices.Sorted(maps.Keys(p.Grants)) {
		g := p.Grants[audience]
		held, roles := g.At(now)
		permissions := credential.Narrow(g.ResourceServerID, held)
		if len(permissions) == 0 {
			continue
		}
		out.Grants = append(out.Grants, HeldGrant{
			ResourceServerID: g.ResourceServerID, Audience: audience, Permissions: permissions, Roles: roles,
		})
	}
	return out, nil
}
