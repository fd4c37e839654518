package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// Key is one thing that can be set.
type Key struct {
	Name    string // as in the file; the environment's name follows from it
	Doc     string // one sentence
	Default string // as it would be written in the file; may mention another key
	Dev     string // the default under `serve --dev` where it differs

	// secret values are redacted wherever they are shown and are not accepted
	// from the configuration file, which tends to end up in a repository.
	secret bool
	set    func(*Config, string) error
	show   func(*Config) string
}

// EnvPrefix begins the name of every variable that is read.
const EnvPrefix = "MARQUE_"

// Env is the environment's name of the key: MARQUE_TOKENS_LIFETIME for tokens.lifetime.
func (k Key) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(k.Name, ".", "_"))
}

// Secret reports whether the value may not be shown.
func (k Key) Secret() bool { return k.secret }

// Keys are all keys, in the order in which they are shown.
func Keys() []Key {
	return []Key{
		{
			Name: "issuer", Default: "", Dev: "https://localhost and the port that is listened on",
			Doc:  "The https URL by which clients reach this installation; it stands in every token. Required in production.",
			set:  func(c *Config, v string) error { c.Issuer = v; return checkIssuer(v) },
			show: func(c *Config) string { return c.Issuer },
		}, {
			Name: "listen", Default: ":8443", Dev: "127.0.0.1:8443",
			Doc:  "The address and port to listen on, always with TLS.",
			set:  func(c *Config, v string) error { c.Listen = v; return checkHostPort(v) },
			show: func(c *Config) string { return c.Listen },
		}, {
			Name: "data_dir", Default: "/var/lib/marque", Dev: ".marque",
			Doc:  "The directory for files of the server's own.",
			set:  func(c *Config, v string) (err error) { c.DataDir, err = absolute(v); return err },
			show: func(c *Config) string { return c.DataDir },
		}, {
			Name: "database.url", Default: "sqlite: and marque.db in data_dir",
			Doc: "postgres://user@host/name?sslmode=verify-full or sqlite:/absolute/path. Only the environment's may carry a password.",
			set: func(c *Config, v string) error {
				c.Database.URL = identity.NewSecretValue(v)
				return checkDatabaseURL(v)
			},
			show: func(c *Config) string { return redactURL(c.Database.URL.Reveal()) },
		}, {
			Name: "database.password_file", Default: "",
			Doc:  "A file that holds the password of the database's user.",
			set:  func(c *Config, v string) (err error) { c.Database.PasswordFile, err = absolute(v); return err },
			show: func(c *Config) string { return c.Database.PasswordFile },
		}, {
			Name: "database.max_connections", Default: "20",
			Doc:  "How many connections to PostgreSQL this node may hold.",
			set:  func(c *Config, v string) error { return setInt(&c.Database.MaxConnections, v, 4, 1000) },
			show: func(c *Config) string { return strconv.Itoa(c.Database.MaxConnections) },
		}, {
			Name: "database.connect_timeout", Default: "10s",
			Doc: "How long a start waits for a database that cannot be reached yet.",
			set: func(c *Config, v string) error {
				return setDuration(&c.Database.ConnectTimeout, v, time.Second, 10*time.Minute)
			},
			show: func(c *Config) string { return showDuration(c.Database.ConnectTimeout) },
		}, {
			Name: "tls.certificate_file", Default: "", Dev: "one of the local certificate authority in data_dir",
			Doc:  "PEM file with the server's certificate and its chain. Required in production.",
			set:  func(c *Config, v string) (err error) { c.TLS.CertificateFile, err = absolute(v); return err },
			show: func(c *Config) string { return c.TLS.CertificateFile },
		}, {
			Name: "tls.key_file", Default: "", Dev: "the key of that certificate",
			Doc:  "PEM file with the private key of that certificate; ECDSA P-256 is the fastest. Required in production.",
			set:  func(c *Config, v string) (err error) { c.TLS.KeyFile, err = absolute(v); return err },
			show: func(c *Config) string { return c.TLS.KeyFile },
		}, {
			Name: "master_key_file", Default: "master.key in data_dir",
			Doc:  "The file that `marque master-key generate` wrote; it opens every secret that is stored.",
			set:  func(c *Config, v string) (err error) { c.MasterKeyFile, err = absolute(v); return err },
			show: func(c *Config) string { return c.MasterKeyFile },
		}, {
			Name: "master_key", Default: "", secret: true,
			Doc:  "The content of that file, for platforms that hand secrets over in the environment; then no file is read.",
			set:  func(c *Config, v string) error { c.MasterKey = identity.NewSecretValue(v); return nil },
			show: func(c *Config) string { return c.MasterKey.Reveal() },
		}, {
			Name: "tokens.lifetime", Default: "15m",
			Doc: "How long a token lives when its account says nothing.",
			set: func(c *Config, v string) error {
				return setDuration(&c.Tokens.Lifetime, v, MinTokenLifetime, MaxTokenLifetime)
			},
			show: func(c *Config) string { return showDuration(c.Tokens.Lifetime) },
		}, {
			Name: "tokens.lifetime_max", Default: "24h",
			Doc: "The longest lifetime that an account or a resource server may ask for.",
			set: func(c *Config, v string) error {
				return setDuration(&c.Tokens.LifetimeMax, v, MinTokenLifetime, MaxTokenLifetime)
			},
			show: func(c *Config) string { return showDuration(c.Tokens.LifetimeMax) },
		}, {
			Name: "keys.rotation_interval", Default: "720h",
			Doc: "After how long the next signing key takes over by itself; 0s for never.",
			set: func(c *Config, v string) error {
				return setDuration(&c.Keys.RotationInterval, v, 0, 10*365*24*time.Hour)
			},
			show: func(c *Config) string { return showDuration(c.Keys.RotationInterval) },
		}, {
			Name: "keys.jwks_max_age", Default: "5m",
			Doc: "How long verifiers may keep the key set and the metadata. A new key signs once it has been published for so long and a minute more (a fifth more below 5m).",
			set: func(c *Config, v string) error {
				return setDuration(&c.Keys.JWKSMaxAge, v, time.Second, 24*time.Hour)
			},
			show: func(c *Config) string { return showDuration(c.Keys.JWKSMaxAge) },
		}, {
			Name: "limits.tokens_per_minute", Default: "600",
			Doc:  "How many tokens each account gets in a minute from this node, all at once if need be; an account's token_rate_limit replaces it.",
			set:  func(c *Config, v string) error { return setInt(&c.Limits.Tokens, v, 1, identity.MaxTokenRateLimit) },
			show: func(c *Config) string { return strconv.Itoa(c.Limits.Tokens) },
		}, {
			Name: "limits.introspections_per_minute", Default: "60000",
			Doc: "How many introspections each account may ask this node for in a minute.",
			set: func(c *Config, v string) error {
				return setInt(&c.Limits.Introspections, v, 1, identity.MaxTokenRateLimit)
			},
			show: func(c *Config) string { return strconv.Itoa(c.Limits.Introspections) },
		}, {
			Name: "limits.management_per_minute", Default: "3000",
			Doc: "How many calls of the management API, and revocations, each account may make to this node in a minute.",
			set: func(c *Config, v string) error {
				return setInt(&c.Limits.Management, v, 1, identity.MaxTokenRateLimit)
			},
			show: func(c *Config) string { return strconv.Itoa(c.Limits.Management) },
		}, {
			Name: "cache.accounts", Default: "20000",
			Doc:  "How many service accounts are kept in memory, so that their tokens cost no read of the database.",
			set:  func(c *Config, v string) error { return setInt(&c.CacheAccounts, v, 100, 10_000_000) },
			show: func(c *Config) string { return strconv.Itoa(c.CacheAccounts) },
		}, {
			Name: "revocations.heartbeat", Default: "5s",
			Doc: "How often those that follow revocations hear that they are up to date; after 30 s without, verifiers trust nothing any more.",
			set: func(c *Config, v string) error {
				return setDuration(&c.Revocations.Heartbeat, v, time.Second, 10*time.Second)
			},
			show: func(c *Config) string { return showDuration(c.Revocations.Heartbeat) },
		}, {
			Name: "revocations.followers", Default: "10000",
			Doc:  "How many may follow the revocations at this node at a time.",
			set:  func(c *Config, v string) error { return setInt(&c.Revocations.Followers, v, 1, 1_000_000) },
			show: func(c *Config) string { return strconv.Itoa(c.Revocations.Followers) },
		}, {
			Name: "revocations.followers_per_account", Default: "100",
			Doc:  "How many of them may be of one account.",
			set:  func(c *Config, v string) error { return setInt(&c.Revocations.FollowersPerAccount, v, 1, 1_000_000) },
			show: func(c *Config) string { return strconv.Itoa(c.Revocations.FollowersPerAccount) },
		}, {
			Name: "log.level", Default: "info",
			Doc:  "debug, info, warn or error.",
			set:  setLevel,
			show: func(c *Config) string { return strings.ToLower(c.Log.Level.String()) },
		}, {
			Name: "log.format", Default: "json", Dev: "text",
			Doc:  "json or text, one line per record, on standard error.",
			set:  func(c *Config, v string) error { return setOneOf(&c.Log.Format, v, "json", "text") },
			show: func(c *Config) string { return c.Log.Format },
		}, {
			Name: "log.requests", Default: "all",
			Doc:  "all, errors or none: which answered requests get a line; errors are those with status 400 and above.",
			set:  func(c *Config, v string) error { return setOneOf(&c.Log.Requests, v, "all", "errors", "none") },
			show: func(c *Config) string { return c.Log.Requests },
		}, {
			Name: "operations.listen", Default: "127.0.0.1:9443",
			Doc:  "The address and port of health, readiness and metrics, with the same certificate; off for none. Whoever reaches it needs no credential.",
			set:  setOperationsListen,
			show: func(c *Config) string { return orOff(c.Operations.Listen) },
		}, {
			Name: "operations.pprof", Default: "false",
			Doc:  "true serves Go's profiles there too, below /debug/pprof/.",
			set:  func(c *Config, v string) error { return setBool(&c.Operations.Profiling, v) },
			show: func(c *Config) string { return strconv.FormatBool(c.Operations.Profiling) },
		}, {
			Name: "proxy.protocol_from", Default: "",
			Doc:  "Addresses or networks, separated by commas, of the load balancers that begin each connection with a PROXY protocol v2 header; from them a connection without one is refused.",
			set:  func(c *Config, v string) error { return setNetworks(&c.Proxy.ProtocolFrom, v) },
			show: func(c *Config) string { return showNetworks(c.Proxy.ProtocolFrom) },
		}, {
			Name: "proxy.forwarded_from", Default: "",
			Doc:  "Addresses or networks, separated by commas, of the proxies whose proxy.forwarded_header is believed; from anybody else it is ignored.",
			set:  func(c *Config, v string) error { return setNetworks(&c.Proxy.ForwardedFrom, v) },
			show: func(c *Config) string { return showNetworks(c.Proxy.ForwardedFrom) },
		}, {
			Name: "proxy.forwarded_header", Default: "x-forwarded-for",
			Doc: "x-forwarded-for or forwarded (RFC 7239): the one header that these proxies write. The other is never read.",
			set: func(c *Config, v string) error {
				return setOneOf(&c.Proxy.ForwardedHeader, v, "x-forwarded-for", "forwarded")
			},
			show: func(c *Config) string { return c.Proxy.ForwardedHeader },
		}, {
			Name: "shutdown_delay", Default: "0s",
			Doc: "How long a stopping server still takes new connections while /readyz already says no, for balancers that ask there.",
			set: func(c *Config, v string) error {
				return setDuration(&c.ShutdownDelay, v, 0, 10*time.Minute)
			},
			show: func(c *Config) string { return showDuration(c.ShutdownDelay) },
		}, {
			Name: "shutdown_timeout", Default: "8s",
			Doc: "How long a stopping server waits for requests that are being answered.",
			set: func(c *Config, v string) error {
				return setDuration(&c.ShutdownTimeout, v, time.Second, 10*time.Minute)
			},
			show: func(c *Config) string { return showDuration(c.ShutdownTimeout) },
		},
	}
}

func setInt(to *int, v string, low, high int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return fmt.Errorf("%q is not a whole number from %d to %d", v, low, high)
	}
	*to = n
	return nil
}

func setDuration(to *time.Duration, v string, low, high time.Duration) error {
	d, err := time.ParseDuration(v)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 90s, 15m or 24h", v)
	}
	if d < low || d > high || d%time.Second != 0 {
		return fmt.Errorf("%s is not within %s and %s in whole seconds", v, showDuration(low), showDuration(high))
	}
	*to = d
	return nil
}

// showDuration drops the zero units that time.Duration prints: 15m, not 15m0s.
func showDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func setLevel(c *Config, v string) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(v, level.String()) {
			c.Log.Level = level
			return nil
		}
	}
	return fmt.Errorf("%q is none of debug, info, warn, error", v)
}

func setOneOf(to *string, v string, allowed ...string) error {
	for _, a := range allowed {
		if v == a {
			*to = v
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", v, strings.Join(allowed, ", "))
}

// checkIssuer holds the issuer to what RFC 8414 section 2 asks, and to one
// spelling: verifiers compare it byte for byte.
func checkIssuer(v string) error {
	u, err := url.Parse(v)
	switch {
	case err != nil || u.Host == "":
		return errors.New("it is no URL such as https://auth.example.com")
	case u.Scheme != "https":
		return errors.New("it must begin with https://")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(v, "#"):
		return errors.New("it may have no user, query or fragment (RFC 8414 section 2)")
	case strings.HasSuffix(u.Path, "/"):
		return errors.New("it may have a path but no trailing slash")
	case u.Host != strings.ToLower(u.Host):
		return errors.New("the host is written in lower case: verifiers compare the issuer byte for byte")
	}
	return nil
}

func checkHostPort(v string) error {
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return fmt.Errorf("%q is no address and port such as 127.0.0.1:8443 or :8443", v)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q is no port number", port)
	}
	return nil
}
