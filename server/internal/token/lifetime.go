package token

import (
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// lifetime is how long a token for this account and resource server may live:
// what the account asks for (or the server's default), cut by the maximum of
// the resource server and by that of the server.
func (c *Config) lifetime(a *identity.ServiceAccount, rs *identity.ResourceServer) time.Duration {
	d := c.DefaultLifetime
	if a.TokenLifetime != 0 {
		d = a.TokenLifetime
	}
	if rs.TokenLifetimeMax != 0 {
		d = min(d, rs.TokenLifetimeMax)
	}
	return min(d, c.MaxLifetime)
}

// Earliest is the earlier of two moments, of which zero means "never".
func Earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
