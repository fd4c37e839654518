package marque

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	testKey  = "mqk_ThisIsTheKeyOne0123456789abcdefghijklmnopqr0oYG3u"
	otherKey = "mqk_ThisIsTheKeyTwo0123456789abcdefghijklmnopqr3Q45bU"
)

// withKey makes a client that signs in by API key.
func withKey(c *Config) { c.Credential = APIKeyCredential(testKey) }

// login is what was sent to /v1/login.
func login(t *testing.T, s sent) (body map[string]string) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.body), &body); err != nil {
		t.Fatal(err)
	}
	return body
}

// loginServing answers /v1/login with tok-1, tok-2, …, and all else with answer.
func loginServing(answer func(n int, s sent) *http.Response) *wire {
	return &wire{answer: func(n int, s sent, _ *http.Request) (*http.Response, error) {
		if strings.HasSuffix(s.url, "/v1/login") {
			return tokenAnswer(fmt.Sprintf("tok-%d", n), 900), nil
		}
		return answer(n, s), nil
	}}
}

func TestAnAPIKeyGetsATokenAndIsInNoOtherRequest(t *testing.T) {
	t.Parallel()
	w := loginServing(func(int, sent) *http.Response { return respond(200, accountJSON) })
	client, _ := newTestClient(t, w, withKey)
	for range 2 {
		if _, err := client.Whoami.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	text(t, client.TokenSource("https://api", "y", "x"))
	logins := w.to("/v1/login")
	if len(logins) != 2 || len(w.sent) != 4 {
		t.Fatalf("%d sign-ins, %d requests", len(logins), len(w.sent))
	}
	first := logins[0]
	if first.method != http.MethodPost || first.header.Get("Content-Type") != "application/json" ||
		first.header.Get("Authorization") != "" || first.header.Get("Idempotency-Key") != "" || first.url != testIssuer+"/v1/login" {
		t.Errorf("asked with %+v", first)
	}
	for i, want := range []map[string]string{
		{"api_key": testKey, "resource": ManagementAudience},
		{"api_key": testKey, "resource": "https://api", "scope": "x y"},
	} {
		if got := login(t, logins[i]); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("asked for %v", got)
		}
	}
	for _, call := range w.to("/v1/whoami") {
		if call.header.Get("Authorization") != "Bearer tok-1" || strings.Contains(fmt.Sprint(call), testKey) {
			t.Errorf("called with %+v", call)
		}
	}
}

func TestManyCallersSignInByAPIKeyOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(900)
		e.gate = make(chan struct{})
		client, _ := newTestClient(t, e, withKey)
		var all sync.WaitGroup
		var wrong atomic.Int32
		for range 1000 {
			all.Go(func() {
				if token, err := client.management.Token(t.Context()); err != nil || token.AccessToken != "tok-1" {
					wrong.Add(1)
				}
			})
		}
		synctest.Wait()
		close(e.gate)
		all.Wait()
		if n := len(e.to("/v1/login")); n != 1 || len(e.sent) != 1 || wrong.Load() != 0 {
			t.Errorf("%d sign-ins, %d callers without the token", n, wrong.Load())
		}
	})
}

func TestA401DropsATokenThatAnAPIKeyBrought(t *testing.T) {
	t.Parallel()
	w := loginServing(func(_ int, s sent) *http.Response {
		if s.header.Get("Authorization") == "Bearer tok-1" {
			return respond(401, `{"code":"invalid_token"}`)
		}
		return respond(200, accountJSON)
	})
	client, _ := newTestClient(t, w, withKey)
	if _, err := client.Whoami.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.to("/v1/login")) != 2 || len(w.to("/v1/whoami")) != 2 {
		t.Errorf("sent %+v", w.sent)
	}
}

func TestARefusedAPIKeyIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for code, status := range map[ErrorCode]int{ErrorCodeInvalidAPIKey: 401, ErrorCodeMalformedAPIKey: 400, ErrorCodeInvalidTarget: 400, ErrorCodeInvalidScope: 400} {
		w := &wire{answer: func(int, sent, *http.Request) (*http.Response, error) {
			return respond(status, fmt.Sprintf(`{"code":%q,"detail":"the reason","request_id":"req_7"}`, code), "Content-Type", "application/problem+json"), nil
		}}
		client, clock := newTestClient(t, w, withKey)
		_, err := client.Whoami.Get(t.Context())
		e := failure(t, err, KindAuthentication)
		if e.Code != code || e.Status != status || e.Retryable || e.Operation != "tokens.login" || e.Detail != "the reason" || len(w.sent) != 1 || len(clock.sleeps()) != 0 {
			t.Errorf("%s: %+v after %d requests", code, e, len(w.sent))
		}
	}
}

func TestAPassingFailureOfTheLoginIsRepeatedWhileACallerWaits(t *testing.T) {
	t.Parallel()
	w := &wire{answer: func(n int, _ sent, _ *http.Request) (*http.Response, error) {
		if n < 3 {
			return respond(429, `{"code":"rate_limited"}`, "Retry-After", "2"), nil
		}
		return tokenAnswer("tok", 900), nil
	}}
	client, clock := newTestClient(t, w, withKey)
	if got := text(t, client.TokenSource("")); got != "tok" || len(clock.sleeps()) != 2 || clock.sleeps()[0] != 2*time.Second {
		t.Errorf("%s after sleeping %v", got, clock.sleeps())
	}
}

func TestAnAPIKeyThatCannotBeOneIsToldAtConstruction(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ key, says string }{
		"empty":           {" \n", "is empty"},
		"a client secret": {testSecret, "is a client secret"},
		"another thing":   {"hunter2hunter2", "does not begin with mqk_"},
		"cut off":         {testKey[:len(testKey)-1], "cut off or mistyped"},
		"prefix alone":    {"mqk_", "cut off or mistyped"},
		"one more":        {testKey + "0", "cut off or mistyped"},
		"a typo":          {strings.Replace(testKey, "One", "0ne", 1), "cut off or mistyped"},
		"swapped":         {strings.Replace(testKey, "On", "nO", 1), "cut off or mistyped"},
		"another letter":  {strings.Replace(testKey, "One", "O-e", 1), "cut off or mistyped"},
		"not ASCII":       {strings.Replace(testKey, "One", "Oé", 1), "cut off or mistyped"},
	} {
		_, err := newClient(Config{Issuer: testIssuer, Credential: APIKeyCredential(Secret(test.key))}, none)
		e := failure(t, err, KindConfiguration)
		if !strings.Contains(e.Error(), test.says) || (strings.TrimSpace(test.key) != "" && test.key != "mqk_" && strings.Contains(e.Error(), test.key)) {
			t.Errorf("%s: %v", name, e)
		}
	}
	client, err := newClient(Config{Issuer: testIssuer, Credential: APIKeyCredential(" " + testKey + "\r\n")}, none)
	if err != nil || client.ClientID() != "" {
		t.Error(client, err)
	}
}

func TestAnAPIKeyFileIsReadAtEachUseAndNeverSentWhereItIsNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(files(t, map[string]string{"key": "  " + testKey + " \n\n"}), "key")
	w := loginServing(func(int, sent) *http.Response { return respond(200, accountJSON) })
	client, _ := newTestClient(t, w, func(c *Config) { c.Credential = APIKeyFileCredential(path) })
	text(t, client.TokenSource("a"))
	if err := os.WriteFile(path, []byte(testKey[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := client.TokenSource("b").Token(t.Context())
	if e := failure(t, err, KindConfiguration); !strings.Contains(e.Error(), "cut off or mistyped") || strings.Contains(e.Error(), testKey[:20]) {
		t.Error(e)
	}
	if err := os.WriteFile(path, []byte(otherKey), 0o600); err != nil {
		t.Fatal(err)
	}
	text(t, client.TokenSource("b"))
	logins := w.to("/v1/login")
	if len(logins) != 2 || login(t, logins[0])["api_key"] != testKey || login(t, logins[1])["api_key"] != otherKey {
		t.Errorf("sent %+v", logins)
	}
}

func TestWithAnAPIKeyTheOAuthEndpointsAreCalledWithAToken(t *testing.T) {
	t.Parallel()
	w := loginServing(func(int, sent) *http.Response { return respond(200, `{"active":false}`) })
	client, _ := newTestClient(t, w, withKey)
	if _, err := client.Tokens.Introspect(t.Context(), TokensIntrospectRequest{Token: "a-token"}); err != nil {
		t.Fatal(err)
	}
	if err := client.Tokens.Revoke(t.Context(), TokensRevokeRequest{Token: "a-token"}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
		if s := w.to(path); len(s) != 1 || s[0].header.Get("Authorization") != "Bearer tok-1" || s[0].body != "token=a-token" {
			t.Errorf("%s: %+v", path, s)
		}
	}
	// What the caller signs is the caller's.
	if _, err := client.Tokens.Introspect(t.Context(), TokensIntrospectRequest{Token: "a-token", ClientID: testID, ClientSecret: testSecret}); err != nil {
		t.Fatal(err)
	}
	if s := w.to("/oauth2/introspect")[1]; s.header.Get("Authorization") != "" {
		t.Errorf("sent %+v", s)
	}
	before := len(w.sent)
	_, err := client.Tokens.Issue(t.Context(), TokensIssueRequest{GrantType: "client_credentials"})
	if e := failure(t, err, KindConfiguration); !strings.Contains(e.Error(), "API key") || len(w.sent) != before {
		t.Errorf("%v after %d requests", e, len(w.sent)-before)
	}
}

func TestAnAPIKeyIsInNothingThatIsPrintedLoggedOrHooked(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	var seen []string
	w := &wire{answer: func(_ int, s sent, _ *http.Request) (*http.Response, error) {
		// A server that says what it was sent.
		return respond(400, fmt.Sprintf(`{"code":"invalid_request","detail":%q,"errors":[{"pointer":"/api_key","detail":%q}]}`, "you sent "+s.body, s.body), "X-Echo", strings.ReplaceAll(s.body, "\n", "")), nil
	}}
	client, _ := newTestClient(t, w, withKey, func(c *Config) {
		c.Logger = logger(&log)
		c.BeforeAttempt = func(r *http.Request) { seen = append(seen, fmt.Sprint(r.Header, r.URL)) }
		c.AfterAttempt = func(a Attempt) { seen = append(seen, fmt.Sprintf("%+v %#v", a, a)) }
	})
	_, err := client.Whoami.Get(t.Context())
	e := failure(t, err, KindAuthentication)
	// The caller's own sign-in too.
	_, err = client.Tokens.Login(t.Context(), Login{APIKey: otherKey})
	own := failure(t, err, KindAPI)
	c := client.credential
	printed := log.String() + strings.Join(seen, "\n")
	for _, value := range []any{e, own, string(e.Body), string(own.Body), client, c, client.management} {
		printed += fmt.Sprintf("%v %+v %#v %s %q %x", value, value, value, value, value, value)
	}
	logger(&log).Info("", "client", client, "credential", c, "error", e)
	printed += log.String()
	for _, key := range []string{testKey, otherKey} {
		if strings.Contains(printed, key) || strings.Contains(printed, fmt.Sprintf("%x", key)) {
			t.Errorf("the key in %s", printed)
		}
	}
	if !strings.Contains(e.Error(), masked) || !strings.Contains(own.Error(), masked) || len(seen) != 4 || !strings.Contains(client.String(), "with an API key") {
		t.Errorf("%v, %v, %d hooks", e, own, len(seen))
	}
}

func TestTheChainFindsAPIKeys(t *testing.T) {
	t.Parallel()
	home := files(t, map[string]string{
		"marque/config.json": `{"current":"key","profiles":{
			"key":{"issuer":"https://one.example.com","api_key_file":"the-key"},
			"both":{"issuer":"https://one.example.com","api_key_file":"the-key","client_id":"sa_1"}}}`,
		"marque/the-key": testKey + "\n",
		"env-key":        "\t" + otherKey,
	})
	file := filepath.Join(home, "env-key")
	for name, test := range map[string]struct {
		config      Config
		env         map[string]string
		issuer, key string
	}{
		"constructor":            {Config{Issuer: testIssuer, Credential: APIKeyCredential(testKey)}, map[string]string{"MARQUE_API_KEY": otherKey}, testIssuer, testKey},
		"constructor, file":      {Config{Issuer: testIssuer, Credential: APIKeyFileCredential(file)}, map[string]string{"MARQUE_CLIENT_ID": "sa_1"}, testIssuer, otherKey},
		"environment":            {Config{Issuer: testIssuer}, map[string]string{"MARQUE_API_KEY": " " + otherKey + "\n"}, testIssuer, otherKey},
		"environment, in a file": {Config{Issuer: testIssuer}, map[string]string{"MARQUE_API_KEY_FILE": file}, testIssuer, otherKey},
		"profile":                {Config{}, nil, "https://one.example.com", testKey},
	} {
		w := loginServing(func(int, sent) *http.Response { return respond(200, accountJSON) })
		test.config.HTTPClient = &http.Client{Transport: w}
		client, err := newClient(test.config, func(name string) string {
			if name == "XDG_CONFIG_HOME" {
				return home
			}
			return test.env[name]
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text(t, client.TokenSource(""))
		if got := login(t, w.sent[0])["api_key"]; client.Issuer() != test.issuer || got != test.key {
			t.Errorf("%s: signs in at %s with %s", name, client.Issuer(), got)
		}
	}
	for name, test := range map[string]struct {
		env  map[string]string
		says []string
	}{
		"two keys":           {map[string]string{"MARQUE_API_KEY": testKey, "MARQUE_API_KEY_FILE": file}, []string{"MARQUE_API_KEY and MARQUE_API_KEY_FILE are both set"}},
		"key and client":     {map[string]string{"MARQUE_API_KEY": testKey, "MARQUE_CLIENT_ID": "sa_1", "MARQUE_CLIENT_SECRET": "mqs_1"}, []string{"MARQUE_API_KEY and MARQUE_CLIENT_ID are both set"}},
		"key file and rest":  {map[string]string{"MARQUE_API_KEY_FILE": file, "MARQUE_CLIENT_SECRET_FILE": "/x"}, []string{"MARQUE_API_KEY_FILE and MARQUE_CLIENT_SECRET_FILE are both set"}},
		"mistyped":           {map[string]string{"MARQUE_API_KEY": testKey[:30]}, []string{"MARQUE_API_KEY", "cut off or mistyped"}},
		"private key":        {map[string]string{"MARQUE_KEY_FILE": "/x"}, []string{"MARQUE_KEY_FILE is set, but"}},
		"profile with both":  {map[string]string{"XDG_CONFIG_HOME": home, "MARQUE_PROFILE": "both"}, []string{`"both"`, "api_key_file", "client_id"}},
		"nothing anywhere":   {map[string]string{"XDG_CONFIG_HOME": t.TempDir()}, []string{"MARQUE_CLIENT_ID is not set", "MARQUE_API_KEY_FILE", "MARQUE_API_KEY"}},
		"for another issuer": {map[string]string{"XDG_CONFIG_HOME": home}, []string{testIssuer, "https://one.example.com"}},
	} {
		config := Config{Issuer: testIssuer}
		if test.env["MARQUE_PROFILE"] != "" {
			config.Issuer = ""
		}
		_, err := newClient(config, func(name string) string { return test.env[name] })
		e := failure(t, err, KindConfiguration)
		for _, says := range test.says {
			if !strings.Contains(e.Error(), says) {
				t.Errorf("%s: %q does not say %q", name, e, says)
			}
		}
		if strings.Contains(fmt.Sprintf("%+v %#v", e, e), testKey[:30]) {
			t.Errorf("%s: the key in %v", name, e)
		}
	}
}
