package token

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/jose"
)

func TestMintedTokenSaysWhatWasDecided(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a := w.agent("reader")
		m := a.token()
		message, err := jose.Parse(m.Token, jose.Rules{Typ: "at+jwt", Keys: w.keys.PublicKey})
		w.must(err)
		got, err := decodeClaims(message.Payload)
		w.must(err)
		iat := w.clock.Now().Unix()
		want := Claims{
			Issuer: testIssuer, Subject: a.id, ClientID: a.id, Audience: testAPI, IssuedAt: iat, NotBefore: iat,
			ExpiresAt: iat + 900, TokenID: m.ID, Scope: "invoices:read", Roles: []string{"clerk"},
			Gen: a.principal().Account.Gen, CredentialID: a.secret.ID,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if m.ExpiresIn != 15*time.Minute || m.ExpiresAt.Unix() != iat+900 || m.Scope != "invoices:read" {
			t.Errorf("the answer differs from the token: %+v", m)
		}
	})
}

// A wrong claims builder must not get a signature, whatever it gets wrong.
func TestNothingIsSignedThatWasNotDecided(t *testing.T) {
	t.Parallel()
	mutants := map[string]func(*Claims){
		"foreign issuer":           func(c *Claims) { c.Issuer = "https://other.example" },
		"issuer with a slash":      func(c *Claims) { c.Issuer += "/" },
		"another subject":          func(c *Claims) { c.Subject = identity.NewID(identity.PrefixServiceAccount, time.Unix(1, 0)) },
		"another client":           func(c *Claims) { c.ClientID = identity.NewID(identity.PrefixServiceAccount, time.Unix(1, 0)) },
		"another account":          func(c *Claims) { c.Subject, c.ClientID = "sa_x", "sa_x" },
		"another audience":         func(c *Claims) { c.Audience = identity.ManagementIdentifier },
		"no audience":              func(c *Claims) { c.Audience = "" },
		"iat ahead":                func(c *Claims) { c.IssuedAt++; c.NotBefore++; c.ExpiresAt++ },
		"iat back":                 func(c *Claims) { c.IssuedAt--; c.NotBefore-- },
		"iat in milliseconds":      func(c *Claims) { c.IssuedAt *= 1000; c.NotBefore *= 1000; c.ExpiresAt *= 1000 },
		"nbf later":                func(c *Claims) { c.NotBefore++ },
		"nbf earlier":              func(c *Claims) { c.NotBefore-- },
		"one second too long":      func(c *Claims) { c.ExpiresAt++ },
		"a day":                    func(c *Claims) { c.ExpiresAt = c.IssuedAt + 86400 },
		"no life":                  func(c *Claims) { c.ExpiresAt = c.IssuedAt },
		"exp before iat":           func(c *Claims) { c.ExpiresAt = c.IssuedAt - 1 },
		"no jti":                   func(c *Claims) { c.TokenID = "" },
		"jti of another kind":      func(c *Claims) { c.TokenID = "evt" + strings.TrimPrefix(c.TokenID, "tok") },
		"scope wider than decided": func(c *Claims) { c.Scope += " invoices:write" },
		"another scope":            func(c *Claims) { c.Scope = "invoices:write" },
		"scope not granted":        func(c *Claims) { c.Scope = "invoices:delete" },
		"scope twice":              func(c *Claims) { c.Scope += " " + c.Scope },
		"scope with a space":       func(c *Claims) { c.Scope += " " },
		"no scope":                 func(c *Claims) { c.Scope = "" },
		"one role more":            func(c *Claims) { c.Roles = append(slices.Clone(c.Roles), "admin") },
		"another role":             func(c *Claims) { c.Roles = []string{"admin"} },
		"no roles":                 func(c *Claims) { c.Roles = nil },
		"older generation":         func(c *Claims) { c.Gen-- },
		"newer generation":         func(c *Claims) { c.Gen++ },
		"another credential":       func(c *Claims) { c.CredentialID = identity.NewID(identity.PrefixClientSecret, time.Unix(1, 0)) },
		"no credential":            func(c *Claims) { c.CredentialID = "" },
	}
	texts := map[string]func(string) string{
		"claim twice":          func(s string) string { return strings.Replace(s, `{`, `{"gen":1,`, 1) },
		"unknown claim":        func(s string) string { return strings.Replace(s, `{`, `{"admin":"yes",`, 1) },
		"exp as a string":      func(s string) string { return strings.Replace(s, `"exp":`, `"exp":"`, 1) + `"` },
		"claim injected":       func(s string) string { return strings.Replace(s, `"clerk"`, `"clerk"],"gen":9,"roles":["clerk"`, 1) },
		"audience as a list":   func(s string) string { return strings.Replace(s, `"`+testAPI+`"`, `["`+testAPI+`"]`, 1) },
		"object left open":     func(s string) string { return strings.TrimSuffix(s, "}") },
		"something behind":     func(s string) string { return s + "{}" },
		"quote left unescaped": func(s string) string { return strings.Replace(s, "clerk", `cle"rk`, 1) },
	}
	onEachDatabase(t, func(t *testing.T, w *world) {
		r := w.agent("reader").request()
		refused := func(name string, payload []byte) {
			m, err := w.issuer.sign(payload, &r)
			if !fault.Is(err, fault.CodeInternal) || m.Token != "" {
				t.Errorf("%s: signed (%v)", name, err)
			}
		}
		right := w.issuer.claims(&r)
		if _, err := w.issuer.sign(appendClaims(nil, &right), &r); err != nil {
			t.Fatalf("the right claims are refused: %v", err)
		}
		for name, mutate := range mutants {
			c := right
			mutate(&c)
			refused(name, appendClaims(nil, &c))
		}
		for name, mutate := range texts {
			refused(name, []byte(mutate(string(appendClaims(nil, &right)))))
		}
	})
}

func TestLifetimeIsTheSmallestOfAllBounds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		account, server, configured, most time.Duration
		want                              time.Duration
	}{
		"default":                       {want: 15 * time.Minute},
		"account longer than default":   {account: time.Hour, want: time.Hour},
		"account shorter":               {account: 30 * time.Second, want: 30 * time.Second},
		"resource server cuts default":  {server: time.Minute, want: time.Minute},
		"resource server cuts account":  {account: time.Hour, server: 10 * time.Minute, want: 10 * time.Minute},
		"resource server never extends": {server: time.Hour, want: 15 * time.Minute},
		"server cuts all":               {account: 24 * time.Hour, server: 24 * time.Hour, most: 5 * time.Minute, want: 5 * time.Minute},
		"configured default":            {configured: 45 * time.Second, want: 45 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{DefaultLifetime: DefaultLifetime, MaxLifetime: MaxLifetime}
			if tt.configured != 0 {
				cfg.DefaultLifetime = tt.configured
			}
			if tt.most != 0 {
				cfg.MaxLifetime = tt.most
			}
			got := cfg.lifetime(&identity.ServiceAccount{TokenLifetime: tt.account}, &identity.ResourceServer{TokenLifetimeMax: tt.server})
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestTokenEndsWithWhatItRestsOn(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a := w.agent("reader")
		r := a.request()
		r.NotAfter = w.clock.Now().Add(90*time.Second + 700*time.Millisecond)
		m, err := w.issuer.Mint(r)
		w.must(err)
		if m.ExpiresAt.After(r.NotAfter) || m.ExpiresIn > 91*time.Second || m.ExpiresIn < 89*time.Second {
			t.Errorf("ends at %s, its credential at %s", m.ExpiresAt, r.NotAfter)
		}
		a.change(func(s *identity.ServiceAccount) { s.ExpiresAt = w.clock.Now().Add(40 * time.Second) })
		r.Account = &a.principal().Account
		m, err = w.issuer.Mint(r)
		w.must(err)
		if m.ExpiresAt.After(r.Account.ExpiresAt) {
			t.Errorf("ends at %s, its account at %s", m.ExpiresAt, r.Account.ExpiresAt)
		}
	})
}

func TestTokenThatWouldBeTooLargeIsRefusedWithAdvice(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a := w.agent("reader")
		many := a.request()
		for i := range MaxScopes + 1 {
			many.Scopes = append(many.Scopes, fmt.Sprintf("scope-%03d", i))
		}
		many.Scopes = many.Scopes[1:] // drop the one of the fixture
		large := a.request()
		large.Scopes = nil
		for i := range MaxScopes {
			large.Scopes = append(large.Scopes, fmt.Sprintf("%03d-%s", i, strings.Repeat("x", 80)))
		}
		for name, r := range map[string]Request{"65 scopes": many, "64 long scopes": large} {
			r.Granted = r.Scopes
			_, err := w.issuer.Mint(r)
			if !fault.Is(err, fault.CodeInvalidScope) || !strings.Contains(err.Error(), "ask for less") {
				t.Errorf("%s: %v", name, err)
			}
		}
		fits := a.request()
		fits.Scopes = many.Scopes[:MaxScopes]
		fits.Granted = fits.Scopes
		if _, err := w.issuer.Mint(fits); err != nil {
			t.Errorf("64 short scopes are refused: %v", err)
		}
	})
}

func TestNoTokenIsDatedBeforeItsKey(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		r := w.agent("reader").request()
		r.Now = r.Now.Add(-time.Hour) // our clock has gone back
		if _, err := w.issuer.Mint(r); !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("got %v, want unavailable", err)
		}
	})
}

func TestConfigurationThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		valid := Config{Issuer: testIssuer, Store: w.store, Keys: w.keys, Clock: w.clock}
		for name, spoil := range map[string]func(*Config){
			"no issuer":     func(c *Config) { c.Issuer = "" },
			"no store":      func(c *Config) { c.Store = nil },
			"no keys":       func(c *Config) { c.Keys = nil },
			"no clock":      func(c *Config) { c.Clock = nil },
			"short default": func(c *Config) { c.DefaultLifetime = time.Second },
			"long maximum":  func(c *Config) { c.MaxLifetime = 25 * time.Hour },
		} {
			c := valid
			spoil(&c)
			if _, err := NewIssuer(c); err == nil {
				t.Errorf("%s: accepted by NewIssuer", name)
			}
			if _, err := NewChecker(c); err == nil {
				t.Errorf("%s: accepted by NewChecker", name)
			}
		}
	})
}
