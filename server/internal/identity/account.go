// Package identity holds the words of Marque's domain and their rules: service
// accounts, client secrets, resource servers, roles, permissions, ids and the
// format of secrets. It knows no database, no HTTP and no clock.
package identity

import (
	"net/netip"
	"slices"
	"time"
)

// Status is whether a service account may sign in.
type Status string

// A disabled account gets no token by any path.
const (
	StatusActive   Status = "active"
	StatusDisabled Status = "disabled"
)

// Kind says what sort of software an account stands for. The set is open.
type Kind string

// The kinds that Marque itself knows.
const (
	KindAgent   Kind = "agent"
	KindService Kind = "service"
	KindJob     Kind = "job"
	KindDevice  Kind = "device"
)

// ServiceAccount is the registered identity of one agent, service, job or
// device. Its ID is its client_id. Zero times and durations mean "none".
type ServiceAccount struct {
	ID                    string
	Name                  string // unique slug among the living
	DisplayName           string
	Description           string
	Kind                  Kind
	Owner                 string // who answers for it
	Labels                map[string]string
	Status                Status
	ExpiresAt             time.Time
	TokenLifetime         time.Duration
	TokenRateLimit        int    // tokens a minute; zero: what the server gives to all
	DefaultResourceServer string // id of a resource server, or ""
	AllowedNetworks       []netip.Prefix
	AllowedCredentials    []CredentialKind // sorted; empty: any
	Gen                   int64            // revocation generation: tokens of a lower one are dead
	Version               int64            // grows with each change; the ETag
	CreatedAt             time.Time
	UpdatedAt             time.Time
	LastUsedAt            time.Time
}

// Live reports whether the account may hold tokens at the given time.
func (a *ServiceAccount) Live(now time.Time) bool {
	return a.Status == StatusActive && (a.ExpiresAt.IsZero() || now.Before(a.ExpiresAt))
}

// AllowsAddress reports whether the account may sign in from addr. An account
// without networks may sign in from anywhere.
func (a *ServiceAccount) AllowsAddress(addr netip.Addr) bool {
	return within(a.AllowedNetworks, addr)
}

// AllowsCredential reports whether the account may sign in by that kind.
func (a *ServiceAccount) AllowsCredential(kind CredentialKind) bool {
	return len(a.AllowedCredentials) == 0 || slices.Contains(a.AllowedCredentials, kind)
}

// within reports whether one of the networks has the address; where there are
// none, any will do.
func within(networks []netip.Prefix, addr netip.Addr) bool {
	if len(networks) == 0 {
		return true
	}
	addr = addr.Unmap()
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// ClientSecret is one of the secrets by which an account signs in. Its text is
// never stored: MAC is HMAC-SHA-256 of it under the server's pepper.
type ClientSecret struct {
	ID               string
	ServiceAccountID string
	Hint             string
	MAC              [32]byte
	ReplacedBy       string // id of the secret that a rotation made for it, or ""
	ExpiresAt        time.Time
	CreatedAt        time.Time
	LastUsedAt       time.Time
}

// Live reports whether the secret still opens anything at the given time.
func (s *ClientSecret) Live(now time.Time) bool {
	return s.ExpiresAt.IsZero() || now.Before(s.ExpiresAt)
}
