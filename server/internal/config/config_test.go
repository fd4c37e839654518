package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/config"
)

// production is the least that a production server has to be told.
const production = `
issuer: https://auth.example.com
tls:
  certificate_file: /etc/marque/tls.pem
  key_file: /etc/marque/tls-key.pem
`

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadRefuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		file    string
		environ []string
		flags   map[string]string
		want    []string // each in the message
	}{
		{name: "an unknown key, with its line", file: production + "colour: red\n", want: []string{"marque.yaml:6: unknown key colour"}},
		{name: "a mistyped key, with the one that is meant", file: production + "tokens:\n  lifetyme: 5m\n", want: []string{"marque.yaml:7: unknown key tokens.lifetyme", "did you mean tokens.lifetime?"}},
		{name: "a section that is no section", file: "tls: yes\n", want: []string{"marque.yaml:1: tls must hold keys and their values"}},
		{name: "a value that is a section", file: production + "listen:\n  port: 1\n", want: []string{"marque.yaml:7: listen must be one plain value"}},
		{name: "a key set twice", file: production + "issuer: https://other.example.com\n", want: []string{"marque.yaml", "issuer"}},
		{name: "two documents", file: production + "---\nlisten: :1\n", want: []string{"more than one YAML document"}},
		{name: "broken YAML", file: "issuer: [\n", want: []string{"marque.yaml: line"}},
		{name: "a list at the top", file: "- issuer\n", want: []string{"marque.yaml:1: the file must hold keys"}},
		{name: "an empty value", file: production + "listen: \"\"\n", want: []string{"listen (", "it is empty"}},
		{name: "a null", file: production + "listen:\n", want: []string{"listen must be one plain value"}},
		{name: "a bad duration", file: production + "tokens:\n  lifetime: 15\n", want: []string{"tokens.lifetime (", "marque.yaml:7", `"15" is not a duration such as 90s, 15m or 24h`}},
		{name: "a duration out of range", file: production + "tokens:\n  lifetime: 25h\n", want: []string{"tokens.lifetime", "not within 30s and 24h"}},
		{name: "a lifetime above its maximum", file: production + "tokens:\n  lifetime: 1h\n  lifetime_max: 30m\n", want: []string{"tokens.lifetime: 1h is longer than tokens.lifetime_max, 30m"}},
		{name: "a number out of range", file: production + "database:\n  max_connections: 2\n", want: []string{"database.max_connections", "from 4 to 1000"}},
		{name: "a limit of nothing", file: production + "limits:\n  tokens_per_minute: 0\n", want: []string{"limits.tokens_per_minute", "from 1 to 60000000"}},
		{name: "no limit", file: production + "limits:\n  management_per_minute: none\n", want: []string{"limits.management_per_minute", `"none" is not a whole number`}},
		{name: "a log level that is none", file: production + "log:\n  level: loud\n", want: []string{"log.level", "debug, info, warn, error"}},
		{name: "a log format that is none", file: production + "log:\n  format: xml\n", want: []string{"log.format", "json, text"}},
		{name: "a port that is none", file: production + "listen: localhost\n", want: []string{"listen", "no address and port"}},
		{name: "requests that are none", file: production + "log:\n  requests: some\n", want: []string{"log.requests", "all, errors, none"}},
		{name: "a listener of operators without a port", file: production + "operations:\n  listen: localhost\n", want: []string{"operations.listen", "no address and port"}},
		{name: "a switch that is none", file: production + "operations:\n  pprof: yes\n", want: []string{"operations.pprof", "neither true nor false"}},
		{name: "a balancer by name", file: production + "proxy:\n  protocol_from: lb.example.com\n", want: []string{"proxy.protocol_from", `"lb.example.com" is no address`}},
		{name: "a network with bits beyond its prefix", file: production + "proxy:\n  forwarded_from: 10.0.0.7/8\n", want: []string{"proxy.forwarded_from", "is it 10.0.0.0/8"}},
		{name: "everybody as a proxy", file: production + "proxy:\n  forwarded_from: 0.0.0.0/0\n", want: []string{"proxy.forwarded_from", "everybody"}},
		{name: "a header that is none", file: production + "proxy:\n  forwarded_header: x-real-ip\n", want: []string{"proxy.forwarded_header", "x-forwarded-for, forwarded"}},
		{name: "an issuer over plain HTTP", file: strings.Replace(production, "https:", "http:", 1), want: []string{"issuer", "must begin with https://"}},
		{name: "an issuer with a trailing slash", file: strings.Replace(production, ".com", ".com/", 1), want: []string{"issuer", "no trailing slash"}},
		{name: "an issuer with a query", file: strings.Replace(production, ".com", ".com?a", 1), want: []string{"issuer", "RFC 8414"}},
		{name: "an issuer in capitals", file: strings.Replace(production, "auth", "Auth", 1), want: []string{"issuer", "lower case"}},
		{name: "no issuer", file: strings.Replace(production, "issuer: https://auth.example.com", "", 1), want: []string{"issuer: it is not set"}},
		{name: "no certificate", file: "issuer: https://auth.example.com\n", want: []string{"tls.certificate_file, tls.key_file: they are not set"}},
		{name: "half a certificate", file: "issuer: https://auth.example.com\ntls:\n  key_file: /k\n", want: []string{"one is set without the other"}},
		{name: "a relative SQLite path", file: production + "database:\n  url: sqlite:marque.db\n", want: []string{"database.url", "absolute path"}},
		{name: "another database", file: production + "database:\n  url: mysql://h/d\n", want: []string{"database.url", "postgres://"}},
		{name: "a password in the file", file: production + "database:\n  url: postgres://u:hunter2@h/d\n", want: []string{"marque.yaml:7: database.url carries a password", "password_file", "MARQUE_DATABASE_URL"}},
		{name: "a password in the query of the URL", file: production + "database:\n  url: postgres://u@h/d?password=hunter2\n", want: []string{"database.url carries a password"}},
		{name: "a master key in the file", file: production + "master_key: v1:hunter2\n", want: []string{"marque.yaml:6: master_key is a secret", "master_key_file", "MARQUE_MASTER_KEY"}},
		{name: "two passwords", file: production + "database:\n  password_file: /p\n", environ: []string{"MARQUE_DATABASE_URL=postgres://u:hunter2@h/d"}, want: []string{"database.password_file: database.url carries a password already"}},
		{name: "an unknown variable", file: production, environ: []string{"MARQUE_COLOUR=red"}, want: []string{"environment: unknown variable MARQUE_COLOUR"}},
		{name: "a bad value of a variable", file: production, environ: []string{"MARQUE_TOKENS_LIFETIME=soon"}, want: []string{"tokens.lifetime (environment MARQUE_TOKENS_LIFETIME)"}},
		{name: "a bad value of a flag", file: production, flags: map[string]string{"listen": "x"}, want: []string{"listen (flag --listen)"}},
		{name: "all at once", file: "a: 1\nb: 2\n", want: []string{"4 problem(s)", "unknown key a", "unknown key b", "issuer", "tls"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(config.Input{File: write(t, "marque.yaml", tc.file), Environ: tc.environ, Flags: tc.flags, Serving: true})
			if err == nil {
				t.Fatal("it was accepted")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the message does not say %q:\n%v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message repeats a secret:\n%v", err)
			}
		})
	}
}

func TestAMissingFileIsNamed(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Input{File: "/nowhere/marque.yaml", Environ: []string{"MARQUE_LISTEN=:1"}})
	if err == nil || !strings.Contains(err.Error(), "/nowhere/marque.yaml") {
		t.Fatalf("got %v", err)
	}
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := write(t, "marque.yaml", production+"listen: :1\ntokens:\n  lifetime: 1m\n")
	for _, tc := range []struct {
		name           string
		environ        []string
		flags          map[string]string
		listen, source string
	}{
		{"the file beats the default", nil, nil, ":1", file + ":6"},
		{"the environment beats the file", []string{"MARQUE_LISTEN=:2"}, nil, ":2", "environment MARQUE_LISTEN"},
		{"a flag beats the environment", []string{"MARQUE_LISTEN=:2"}, map[string]string{"listen": ":3"}, ":3", "flag --listen"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			loaded, err := config.Load(config.Input{File: file, Environ: tc.environ, Flags: tc.flags, Serving: true})
			if err != nil {
				t.Fatal(err)
			}
			if loaded.Listen != tc.listen || loaded.Tokens.Lifetime != time.Minute {
				t.Errorf("listen %q, lifetime %s", loaded.Listen, loaded.Tokens.Lifetime)
			}
			for _, s := range loaded.Settings {
				if s.Key.Name == "listen" && (s.Value != tc.listen || s.Source != tc.source) {
					t.Errorf("listen is shown as %q from %q, want %q from %q", s.Value, s.Source, tc.listen, tc.source)
				}
			}
		})
	}
}

func TestOnlyAServerNeedsAnIssuerAndACertificate(t *testing.T) {
	t.Parallel()
	if _, err := config.Load(config.Input{}); err != nil {
		t.Errorf("for another command: %v", err)
	}
	if _, err := config.Load(config.Input{Serving: true}); err == nil {
		t.Error("for a server: accepted")
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	loaded, err := config.Load(config.Input{Dev: true, Flags: map[string]string{"data_dir": "/d"}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range loaded.Settings {
		got[s.Key.Name] = s.Value
	}
	want := map[string]string{
		"issuer": "", "listen": "127.0.0.1:8443", "data_dir": "/d",
		"database.url": "sqlite:/d/marque.db", "database.password_file": "", "database.max_connections": "20", "database.connect_timeout": "10s",
		"tls.certificate_file": "", "tls.key_file": "",
		"master_key_file": "/d/master.key", "master_key": "",
		"tokens.lifetime": "15m", "tokens.lifetime_max": "24h",
		"limits.tokens_per_minute": "600", "keys.jwks_max_age": "5m", "keys.rotation_interval": "720h",
		"limits.introspections_per_minute": "60000", "limits.management_per_minute": "3000",
		"cache.accounts": "20000", "log.level": "info", "log.format": "text", "log.requests": "all",
		"operations.listen": "127.0.0.1:9443", "operations.pprof": "false",
		"proxy.protocol_from": "", "proxy.forwarded_from": "", "proxy.forwarded_header": "x-forwarded-for",
		"revocations.heartbeat": "5s", "revocations.followers": "10000", "revocations.followers_per_account": "100",
		"shutdown_delay": "0s", "shutdown_timeout": "8s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestNetworksAreListedWithCommas(t *testing.T) {
	t.Parallel()
	loaded, err := config.Load(config.Input{Dev: true, Environ: []string{
		"MARQUE_PROXY_PROTOCOL_FROM=10.0.0.0/8, 192.0.2.7,2001:db8::/32", "MARQUE_OPERATIONS_LISTEN=off",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}
	if !slices.Equal(loaded.Proxy.ProtocolFrom, want) || loaded.Operations.Listen != "" {
		t.Errorf("%v, %q", loaded.Proxy.ProtocolFrom, loaded.Operations.Listen)
	}
	if text := loaded.String(); !strings.Contains(text, "proxy.protocol_from = 10.0.0.0/8, 192.0.2.7, 2001:db8::/32") || !strings.Contains(text, "operations.listen = off") {
		t.Errorf("not shown as it should be:\n%s", text)
	}
}

func TestVariablesOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	_, err := config.Load(config.Input{Dev: true, Environ: []string{
		"MARQUE_CLIENT_ID=sa_1", "MARQUE_CLIENT_SECRET=mqs_1", "MARQUE_CLIENT_SECRET_FILE=/s", "MARQUE_CA_FILE=/c",
		"MARQUE_API_KEY=k", "MARQUE_API_KEY_FILE=/k", "MARQUE_KEY_FILE=/k", "MARQUE_PROFILE=p",
		"MARQUE_SERVICE_HOST=10.0.0.1", "MARQUE_SERVICE_PORT=443", "MARQUE_SERVICE_PORT_HTTPS=443",
		"MARQUE_PORT=tcp://10.0.0.1:443", "MARQUE_PORT_443_TCP=tcp://10.0.0.1:443", "MARQUE_PORT_443_TCP_ADDR=10.0.0.1",
		"MARQUE_CONFIG=/etc/marque.yaml", "HOME=/root", "MARQUEE=1",
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSecretsAreRedactedWhereverTheyAreShown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, url, shown string }{
		{"a password", "postgres://u:hunter2@db.example.com:5432/marque?sslmode=verify-full", "postgres://u:[secret]@db.example.com:5432/marque?sslmode=verify-full"},
		{"a password in the query", "postgres://u@h/d?password=hunter2&sslmode=disable", "postgres://u:[secret]@h/d?sslmode=disable"},
		{"no password", "postgres://u@h/d?sslmode=disable", "postgres://u@h/d?sslmode=disable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			loaded, err := config.Load(config.Input{Dev: true, Environ: []string{
				"MARQUE_DATABASE_URL=" + tc.url, "MARQUE_MASTER_KEY=v1:hunter2",
			}})
			if err != nil {
				t.Fatal(err)
			}
			text := loaded.String()
			if strings.Contains(text, "hunter2") {
				t.Errorf("a secret is shown:\n%s", text)
			}
			if !strings.Contains(text, "database.url = "+tc.shown+" ") || !strings.Contains(text, "master_key = [secret]") {
				t.Errorf("not shown as it should be:\n%s", text)
			}
			if url, err := loaded.DatabaseURL(); err != nil || url != tc.url {
				t.Errorf("to connect with: %q, %v", url, err)
			}
		})
	}
}

func TestThePasswordFileGoesIntoTheURL(t *testing.T) {
	t.Parallel()
	file := write(t, "password", "p@ss/w:rd\n")
	loaded, err := config.Load(config.Input{Dev: true, Environ: []string{
		"MARQUE_DATABASE_URL=postgres://u@h/d?sslmode=disable", "MARQUE_DATABASE_PASSWORD_FILE=" + file,
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := loaded.DatabaseURL()
	if want := "postgres://u:p%40ss%2Fw%3Ard@h/d?sslmode=disable"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	if strings.Contains(loaded.String(), "rd@") {
		t.Error("the password is shown")
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	t.Parallel()
	for _, k := range config.Keys() {
		if !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: %q is no sentence", k.Name, k.Doc)
		}
	}
}

// TestTheReadmeListsEveryKey keeps the table of the README true, which is that
// of `marque config docs`. When it fails, what it prints belongs there.
func TestTheReadmeListsEveryKey(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "\n"+config.Table()+"\n") {
		t.Errorf("the table of README.md is not:\n%s", config.Table())
	}
	if !strings.Contains(config.Docs(), config.Table()) {
		t.Error("the reference lacks the table")
	}
}
