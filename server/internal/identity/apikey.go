package identity

import (
	"net/netip"
	"time"
)

// APIKey is one of the keys by which an account signs in without OAuth. Like a
// client secret it is known by its MAC alone. Unlike one it may give less than
// the account holds, and from fewer networks.
type APIKey struct {
	ID               string
	ServiceAccountID string
	Name             string // what it is for
	Hint             string
	MAC              [32]byte
	// Restricted: the key gives no more than Permissions, sorted, which may be
	// none: those of a permission that was withdrawn go with it. Else it gives all
	// that the account holds.
	Restricted      bool
	Permissions     []RolePermission
	AllowedNetworks []netip.Prefix // within those of the account; empty: from anywhere
	ReplacedBy      string         // id of the key that a rotation made for it, or ""
	ExpiresAt       time.Time
	Version         int64
	CreatedAt       time.Time
	UpdatedAt       time.Time
	LastUsedAt      time.Time
}

// Live reports whether the key still opens anything at the given time.
func (k *APIKey) Live(now time.Time) bool { return k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt) }

// Credential is what the key has in common with other kinds.
func (k *APIKey) Credential() Credential {
	return Credential{
		ID: k.ID, Kind: KindAPIKey, ServiceAccountID: k.ServiceAccountID, Hint: k.Hint,
		Restricted: k.Restricted, Permissions: k.Permissions, AllowedNetworks: k.AllowedNetworks,
		ExpiresAt: k.ExpiresAt, CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsedAt,
	}
}

// Credential is what the secret has in common with other kinds.
func (s *ClientSecret) Credential() Credential {
	return Credential{
		ID: s.ID, Kind: KindClientSecret, ServiceAccountID: s.ServiceAccountID, Hint: s.Hint,
		ExpiresAt: s.ExpiresAt, CreatedAt: s.CreatedAt, LastUsedAt: s.LastUsedAt,
	}
}
