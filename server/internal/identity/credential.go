package identity

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// CredentialKind says by what sort of credential an account signs in. The set is
// open.
type CredentialKind string

// The kinds of credentials.
const (
	KindClientSecret CredentialKind = "client_secret"
	KindAPIKey       CredentialKind = "api_key"
)

// CredentialKinds are all of them.
func CredentialKinds() []CredentialKind { return []CredentialKind{KindClientSecret, KindAPIKey} }

// CredentialPrefixes are the prefixes of the ids of all kinds of credentials.
func CredentialPrefixes() []Prefix { return []Prefix{PrefixClientSecret, PrefixAPIKey} }

// ParseCredentialID checks that s is the id of a credential, of whatever kind. The
// value is untrusted text until this has returned nil.
func ParseCredentialID(s string) (err error) {
	for _, p := range CredentialPrefixes() {
		if err = ParseID(p, s); err == nil {
			return nil
		}
	}
	return err
}

// Credential is what all kinds of credentials have in common. Whoever asks what a
// credential is good for asks this, so that no kind is forgotten.
type Credential struct {
	ID               string
	Kind             CredentialKind
	ServiceAccountID string
	Hint             string
	Restricted       bool // it gives no more than Permissions
	Permissions      []RolePermission
	AllowedNetworks  []netip.Prefix // beside those of the account
	ExpiresAt        time.Time
	CreatedAt        time.Time
	LastUsedAt       time.Time
}

// Live reports whether the credential still opens anything at the given time.
func (c *Credential) Live(now time.Time) bool {
	return c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt)
}

// AllowsAddress reports whether the credential may be used from addr.
func (c *Credential) AllowsAddress(addr netip.Addr) bool { return within(c.AllowedNetworks, addr) }

// Gives reports whether the credential gives a permission that its account holds.
func (c *Credential) Gives(resourceServerID, permission string) bool {
	if !c.Restricted {
		return true
	}
	_, found := slices.BinarySearchFunc(c.Permissions, RolePermission{resourceServerID, permission}, RolePermission.Compare)
	return found
}

// Narrow gives what the credential leaves of what its account holds at a resource
// server. It may be the same slice: do not write to it.
func (c *Credential) Narrow(resourceServerID string, held []string) []string {
	if !c.Restricted {
		return held
	}
	out := make([]string, 0, min(len(held), len(c.Permissions)))
	for _, p := range held {
		if c.Gives(resourceServerID, p) {
			out = append(out, p)
		}
	}
	return out
}

// Compare orders permissions by resource server and name.
func (p RolePermission) Compare(other RolePermission) int {
	if c := strings.Compare(p.ResourceServerID, other.ResourceServerID); c != 0 {
		return c
	}
	return strings.Compare(p.Permission, other.Permission)
}
