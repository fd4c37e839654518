// Package token makes, checks, describes and revokes access tokens: JWTs in
// the profile of RFC 9068.
//
// An [Issuer] builds the claims, checks them against what was asked and what
// policy allows, and signs. A [Checker] verifies a token and then asks, on each
// call, whether it still stands: its verification may be remembered, its
// verdict never is. A [Service] is introspection (RFC 7662) and revocation (RFC
// 7009) on top of the Checker.
package token

import (
	"errors"
	"log/slog"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
)

// The limits that no configuration moves.
const (
	MinLifetime     = identity.MinTokenLifetime
	MaxLifetime     = identity.MaxTokenLifetime
	DefaultLifetime = 15 * time.Minute

	// MaxSize and MaxScopes bound what we issue; who asks for more is told to
	// ask for less. MaxSize leaves room in the 8 KiB that verifiers read.
	MaxSize   = 6 << 10
	MaxScopes = 64

	// MaxAhead is how far iat and nbf may lie ahead of our clock. Anything
	// beyond is refused: nodes are expected to agree within 10 s, and a bound
	// that is one number leaves nobody guessing about a token at 30 s.
	MaxAhead = 10 * time.Second

	// Type is the JOSE header member typ (RFC 9068 section 2.1).
	Type = "at+jwt"
)

// Config is what the parts of this package need.
type Config struct {
	Issuer string // iss, byte for byte
	Store  *store.Store
	Keys   *keyring.Keyring
	Clock  clock.Clock
	Log    *slog.Logger // nil discards

	DefaultLifetime time.Duration // where the account sets none; zero: 15 min
	MaxLifetime     time.Duration // of any token of this server; zero: 24 h
	CacheBytes      int           // bound of the verified-token cache; zero: 16 MiB
}

// check fills in the defaults and refuses what cannot work.
func (c *Config) check() error {
	switch {
	case c.Issuer == "":
		return errors.New("token: the issuer is empty")
	case c.Store == nil, c.Keys == nil, c.Clock == nil:
		return errors.New("token: store, keys and clock are needed")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.DefaultLifetime == 0 {
		c.DefaultLifetime = DefaultLifetime
	}
	if c.MaxLifetime == 0 {
		c.MaxLifetime = MaxLifetime
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 16 << 20
	}
	if c.DefaultLifetime < MinLifetime || c.MaxLifetime < MinLifetime ||
		c.DefaultLifetime > MaxLifetime || c.MaxLifetime > MaxLifetime {
		return errors.New("token: lifetimes lie between 30 s and 24 h")
	}
	return nil
}
