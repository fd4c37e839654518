// Package config reads what an operator may set: a YAML file, the environment
// and a few flags, all under the same names. It knows every key in one table,
// refuses what it does not know, and can say where each value came from.
package config

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// Config is what is in force. Every field has exactly one row in the table of
// keys.go; zero values are never "unset" after Load.
type Config struct {
	Issuer          string
	Listen          string
	DataDir         string // absolute
	Database        Database
	TLS             TLS
	MasterKey       identity.Secret // empty unless given by the environment
	MasterKeyFile   string          // absolute
	Tokens          Tokens
	Keys            SigningKeys
	Limits          Limits
	CacheAccounts   int
	Revocations     Revocations
	Log             Log
	Operations      Operations
	Proxy           Proxy
	ShutdownTimeout time.Duration
	ShutdownDelay   time.Duration // before that, while readiness already says no

	// Dev is set by `serve --dev` alone. It is no key: nothing in a file or an
	// environment can turn a production server into a development one.
	Dev bool
}

// Database says where everything is stored.
type Database struct {
	URL            identity.Secret // may carry a password
	PasswordFile   string
	MaxConnections int
	ConnectTimeout time.Duration // how long a start waits for it
}

// TLS names the server's certificate. Both are empty in development, where the
// server uses the certificate authority of its own data directory.
type TLS struct {
	CertificateFile string
	KeyFile         string
}

// Tokens bounds the lifetime of what is issued.
type Tokens struct {
	Lifetime    time.Duration // when neither account nor resource server says otherwise
	LifetimeMax time.Duration // what no account and no resource server may exceed
}

// SigningKeys says how the keys of tokens follow each other.
type SigningKeys struct {
	JWKSMaxAge       time.Duration // how long verifiers may go without asking for the key set
	RotationInterval time.Duration // zero: never by itself
}

// Limits are calls a minute, of each account, on this node: a minute's worth at
// once, then one by one.
//
// The defaults are far above what honest accounts need and far below what one
// core gives. 600 tokens: a fleet of hundreds under one account that restarts
// at once, or an agent that fetches a token for each call ten times a second,
// and less than 1 % of a core for one that has gone wild. 60,000 introspections:
// an API that asks for each of 1,000 requests a second. 3,000 management calls:
// a thousand accounts set up with secret and role without waiting, and then at
// most 1 % of the durable writes of one node.
type Limits struct {
	Tokens         int // where the account says nothing itself
	Introspections int
	Management     int
}

// Revocations is the feed that tells verifiers what is revoked.
type Revocations struct {
	Heartbeat           time.Duration
	Followers           int // of this node
	FollowersPerAccount int
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format string // "json" or "text"
	// Requests is which answered requests get a line: "all", "errors" or "none".
	Requests string
}

// Operations is the listener for operators: health, readiness, metrics.
type Operations struct {
	Listen    string // "" when there is none
	Profiling bool   // serve Go's profiles there too
}

// Proxy says whose word about the address of a client is taken.
type Proxy struct {
	ProtocolFrom    []netip.Prefix // begin their connections with a PROXY v2 header
	ForwardedFrom   []netip.Prefix // write the header that ForwardedHeader names
	ForwardedHeader string         // "x-forwarded-for" or "forwarded"
}

// The smallest and the largest lifetime of any token.
const (
	MinTokenLifetime = 30 * time.Second
	MaxTokenLifetime = 24 * time.Hour
)

// HasMasterKeyValue reports whether the master key itself, and not a file, was given.
func (c *Config) HasMasterKeyValue() bool { return c.MasterKey.Reveal() != "" }

// InDataDir is a path below the data directory.
func (c *Config) InDataDir(elem ...string) string {
	return filepath.Join(append([]string{c.DataDir}, elem...)...)
}
