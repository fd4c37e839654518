package marque

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files writes files below a new directory and returns it. Modes are 0600.
func files(t *testing.T, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const testProfiles = `{"current":"one","profiles":{
	"one":{"issuer":"https://one.example.com","client_id":"sa_one","client_secret_file":"one-secret"},
	"two":{"issuer":"https://two.example.com","client_id":"sa_two","client_secret_file":"two-secret"},
	"bare":{"issuer":"https://one.example.com"},
	"lost":{"client_id":"sa_lost","client_secret_file":"x"}}}`

func TestTheChainTakesTheFirstSourceThatHasIt(t *testing.T) {
	t.Parallel()
	home := files(t, map[string]string{"marque/config.json": testProfiles, "marque/one-secret": "mqs_one\n", "marque/two-secret": "mqs_two", "env-secret": " mqs_env\r\n"})
	const env, one, two = "https://env.example.com", "https://one.example.com", "https://two.example.com"
	for name, test := range map[string]struct {
		config             Config
		env                map[string]string
		issuer, id, secret string
	}{
		"constructor":                           {Config{Issuer: testIssuer, Credential: SecretCredential("sa_c", "mqs_c")}, map[string]string{"MARQUE_ISSUER": env, "MARQUE_CLIENT_ID": "sa_env", "MARQUE_CLIENT_SECRET": "mqs_env"}, testIssuer, "sa_c", "mqs_c"},
		"environment":                           {Config{}, map[string]string{"MARQUE_ISSUER": env, "MARQUE_CLIENT_ID": "sa_env", "MARQUE_CLIENT_SECRET": "mqs_env"}, env, "sa_env", "mqs_env"},
		"environment, secret in a file":         {Config{}, map[string]string{"MARQUE_ISSUER": env, "MARQUE_CLIENT_ID": "sa_env", "MARQUE_CLIENT_SECRET_FILE": filepath.Join(home, "env-secret")}, env, "sa_env", "mqs_env"},
		"issuer here, credential there":         {Config{Issuer: testIssuer}, map[string]string{"MARQUE_CLIENT_ID": "sa_env", "MARQUE_CLIENT_SECRET": "mqs_env"}, testIssuer, "sa_env", "mqs_env"},
		"profile, the current one":              {Config{}, nil, one, "sa_one", "mqs_one"},
		"profile by variable":                   {Config{}, map[string]string{"MARQUE_PROFILE": "two"}, two, "sa_two", "mqs_two"},
		"profile by constructor":                {Config{Profile: "two"}, map[string]string{"MARQUE_PROFILE": "one", "MARQUE_ISSUER": env, "MARQUE_CLIENT_ID": "sa_env", "MARQUE_CLIENT_SECRET": "mqs_env"}, two, "sa_two", "mqs_two"},
		"profile, its issuer named again":       {Config{Issuer: one}, nil, one, "sa_one", "mqs_one"},
		"credential from environment, rest not": {Config{}, map[string]string{"MARQUE_CLIENT_ID": "sa_env", "MARQUE_CLIENT_SECRET": "mqs_env"}, one, "sa_env", "mqs_env"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := newClient(test.config, func(name string) string {
				if name == "XDG_CONFIG_HOME" {
					return home
				}
				return test.env[name]
			})
			if err != nil {
				t.Fatal(err)
			}
			header := http.Header{}
			if err := client.credential.authenticate(header, nil); err != nil {
				t.Fatal(err)
			}
			id, secret, _ := (&http.Request{Header: header}).BasicAuth()
			if client.Issuer() != test.issuer || id != test.id || secret != test.secret {
				t.Errorf("signs in at %s as %s with %s", client.Issuer(), id, secret)
			}
		})
	}
}

func TestWhatCannotWorkIsToldAtConstruction(t *testing.T) {
	t.Parallel()
	home := files(t, map[string]string{"marque/config.json": testProfiles})
	empty := t.TempDir()
	shared := files(t, map[string]string{"marque/config.json": testProfiles})
	if err := os.Chmod(filepath.Join(shared, "marque/config.json"), 0o640); err != nil {
		t.Fatal(err)
	}
	broken := files(t, map[string]string{"marque/config.json": `{"mqs_`, "ca.pem": "no certificate"})
	secret := SecretCredential("sa_1", "mqs_1")
	for name, test := range map[string]struct {
		config Config
		env    map[string]string
		says   []string
	}{
		"nothing anywhere":       {Config{}, map[string]string{"XDG_CONFIG_HOME": empty}, []string{"Issuer is not set", "MARQUE_ISSUER is not set", "Credential is not set", "MARQUE_CLIENT_ID is not set", filepath.Join(empty, "marque", "config.json") + " does not exist"}},
		"no home":                {Config{Issuer: testIssuer}, nil, []string{"no credential", "no home directory"}},
		"no issuer":              {Config{Credential: secret}, map[string]string{"HOME": empty}, []string{"no issuer", filepath.Join(empty, ".config", "marque", "config.json")}},
		"id without a secret":    {Config{Issuer: testIssuer}, map[string]string{"MARQUE_CLIENT_ID": "sa_1"}, []string{"MARQUE_CLIENT_ID is set without"}},
		"secret without an id":   {Config{Issuer: testIssuer}, map[string]string{"MARQUE_CLIENT_SECRET": "mqs_1"}, []string{"without MARQUE_CLIENT_ID"}},
		"two secrets":            {Config{Issuer: testIssuer}, map[string]string{"MARQUE_CLIENT_ID": "sa_1", "MARQUE_CLIENT_SECRET": "mqs_1", "MARQUE_CLIENT_SECRET_FILE": "/x"}, []string{"both set"}},
		"another way to sign in": {Config{Issuer: testIssuer}, map[string]string{"MARQUE_KEY_FILE": "/key.pem"}, []string{"MARQUE_KEY_FILE is set, but"}},
		"profile of that name":   {Config{}, map[string]string{"XDG_CONFIG_HOME": home, "MARQUE_PROFILE": "three"}, []string{`no profile "three"`}},
		"profile without file":   {Config{Profile: "one"}, map[string]string{"XDG_CONFIG_HOME": empty}, []string{"does not exist"}},
		"profile without secret": {Config{Profile: "bare"}, map[string]string{"XDG_CONFIG_HOME": home}, []string{`"bare"`, "no client_id with a client_secret_file"}},
		"profile without issuer": {Config{Profile: "lost"}, map[string]string{"XDG_CONFIG_HOME": home}, []string{`"lost"`, "no issuer"}},
		"profile for others":     {Config{}, map[string]string{"XDG_CONFIG_HOME": shared}, []string{"mode 0640", "chmod 600"}},
		"profile not JSON":       {Config{}, map[string]string{"XDG_CONFIG_HOME": broken}, []string{"not valid JSON"}},
		"secret for another":     {Config{}, map[string]string{"XDG_CONFIG_HOME": home, "MARQUE_ISSUER": "https://evil.example.com"}, []string{"https://evil.example.com", "https://one.example.com"}},
		"http":                   {Config{Issuer: "http://auth.example.com", Credential: secret}, nil, []string{"https"}},
		"no URL":                 {Config{Issuer: "auth.example.com", Credential: secret}, nil, []string{"must be a URL"}},
		"a query":                {Config{Issuer: "https://auth.example.com?x", Credential: secret}, nil, []string{"no user, query or fragment"}},
		"no CA file":             {Config{Issuer: testIssuer, Credential: secret, CAFile: "/nowhere/ca.pem"}, nil, []string{"/nowhere/ca.pem does not exist"}},
		"a CA file without one":  {Config{Issuer: testIssuer, Credential: secret, CAFile: filepath.Join(broken, "ca.pem")}, nil, []string{"no certificate"}},
		"CA file and client":     {Config{Issuer: testIssuer, Credential: secret, CAFile: "x", HTTPClient: http.DefaultClient}, nil, []string{"both set"}},
		"negative window":        {Config{Issuer: testIssuer, Credential: secret, RefreshWindows: &RefreshWindows{Advisory: -1}}, nil, []string{"negative"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newClient(test.config, func(name string) string { return test.env[name] })
			e := failure(t, err, KindConfiguration)
			for _, says := range test.says {
				if !strings.Contains(e.Error(), says) {
					t.Errorf("%q does not say %q", e, says)
				}
			}
			if text := fmt.Sprintf("%+v %#v", e, e); strings.Contains(text, "mqs_") {
				t.Errorf("a secret in %s", text)
			}
		})
	}
}

func TestAVerifierNeedsNoCredential(t *testing.T) {
	t.Parallel()
	home := files(t, map[string]string{"marque/config.json": testProfiles})
	v, err := newVerifier(VerifierConfig{Profile: "bare"}, func(name string) string { return map[string]string{"XDG_CONFIG_HOME": home}[name] })
	if err != nil || v.Issuer() != "https://one.example.com" {
		t.Fatal(v, err)
	}
	if _, err := newVerifier(VerifierConfig{}, none); !strings.Contains(failure(t, err, KindConfiguration).Error(), "no issuer") {
		t.Error(err)
	}
}

func TestASecretFileIsReadAtEachUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(files(t, map[string]string{"secret": "mqs_old\n"}), "secret")
	e := newEndpoint(900)
	client, _ := newTestClient(t, e, func(c *Config) { c.Credential = SecretFileCredential(testID, path) })
	source := client.TokenSource("")
	text(t, source)
	if err := os.WriteFile(path, []byte("mqs_new"), 0o600); err != nil {
		t.Fatal(err)
	}
	source.Drop(Token{AccessToken: "tok-1"})
	text(t, source)
	for i, want := range []string{"mqs_old", "mqs_new"} {
		if _, secret, _ := (&http.Request{Header: e.sent[i].header}).BasicAuth(); secret != want {
			t.Errorf("request %d was signed with %s", i+1, secret)
		}
	}
}

func TestASecretFileThatIsNoneIsToldAndNeverSent(t *testing.T) {
	t.Parallel()
	dir := files(t, map[string]string{"empty": "\n", "two": "mqs_a\nmqs_b", "large": strings.Repeat("a", maxSecretFile+1)})
	for _, name := range []string{"empty", "two", "large", "missing", "."} {
		e := newEndpoint(900)
		client, _ := newTestClient(t, e, func(c *Config) { c.Credential = SecretFileCredential(testID, filepath.Join(dir, name)) })
		_, err := client.Whoami.Get(t.Context())
		if got := failure(t, err, KindConfiguration); !strings.Contains(got.Error(), dir) || strings.Contains(got.Error(), "mqs_") || len(e.sent) != 0 {
			t.Errorf("%s: %v after %d requests", name, got, len(e.sent))
		}
	}
}
