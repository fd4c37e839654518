package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/testkit"
)

// kid is the key with the algorithm and the state.
func (w *world) kid(algorithm, state string) string {
	w.t.Helper()
	items := w.as(http.MethodGet, "/v1/signing-keys?algorithm="+algorithm+"&state="+state, "").is(w.t, 200).member("items").([]any)
	if len(items) != 1 {
		w.t.Fatalf("%d keys are %s", len(items), state)
	}
	return items[0].(map[string]any)["kid"].(string)
}

func TestARotationThatComesTooEarlyIsToldWhen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	active, prepared := w.kid("ES256", "active"), w.kid("ES256", "prepared")
	body := `{"expected_active_kid":"` + active + `"}`
	w.clock.Advance(90*time.Second + 500*time.Millisecond)
	w.adminToken = w.token(w.admin, "resource", identity.ManagementIdentifier)
	a := w.as(http.MethodPost, "/v1/signing-keys/rotate", body).is(t, http.StatusConflict)
	if a.str("code") != string(fault.CodeSigningKeyNotReady) || a.Header.Get("Retry-After") != "270" {
		t.Errorf("%s, Retry-After %q", a.text, a.Header.Get("Retry-After"))
	}
	w.clock.Advance(270 * time.Second)
	a = w.as(http.MethodPost, "/v1/signing-keys/rotate", body).is(t, http.StatusOK)
	if a.str("kid") != prepared || a.str("state") != "active" {
		t.Error(a.text)
	}
	a = w.as(http.MethodPost, "/v1/signing-keys/rotate", body).is(t, http.StatusConflict)
	if a.str("code") != string(fault.CodeActiveKeyChanged) || a.Header.Get("Retry-After") != "" {
		t.Errorf("%s, Retry-After %q", a.text, a.Header.Get("Retry-After"))
	}
	for _, bad := range []string{
		``, `{}`, `{"expected_active_kid":""}`, `{"expected_active_kid":null}`, `{"expected_active_kid":"` + active + `","algorithm":"HS256"}`,
		`{"expected_active_kid":"` + active + `","algorithm":null}`, `{"expected_active_kid":"` + active + `","force":true}`,
		`{"expected_active_kid":"../` + active + `"}`, `{"expected_active_kid":["` + active + `"]}`,
	} {
		w.as(http.MethodPost, "/v1/signing-keys/rotate", bad).is(t, http.StatusBadRequest)
	}
}

func TestARevokedKeyTakesItsTokensWithIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	active, prepared := w.kid("ES256", "active"), w.kid("ES256", "prepared")
	_, jwks := ask(t, w.app, http.MethodGet, "/.well-known/jwks.json", "")
	if !strings.Contains(jwks, active) || !strings.Contains(jwks, prepared) {
		t.Error(jwks)
	}
	agent := w.account("agent", identity.RoleAuditorID)
	victim := w.token(agent, "resource", identity.ManagementIdentifier)
	before := w.adminToken

	if a := w.as(http.MethodPost, "/v1/signing-keys/"+active+"/revoke", "").is(t, 200); a.str("state") != "revoked" || a.str("kid") != active {
		t.Error(a.text)
	}
	for _, token := range []string{before, victim} {
		if a := w.send(token, http.MethodGet, "/v1/whoami", "").is(t, 401); a.str("code") != "invalid_token" {
			t.Error(a.text)
		}
	}
	w.adminToken = w.token(w.admin, "resource", identity.ManagementIdentifier)
	if text := w.post("/oauth2/introspect", "Authorization:", "Bearer "+w.adminToken, "token", victim).is(t, 200).text; text != `{"active":false}` {
		t.Errorf("introspection: %s", text)
	}
	if w.kid("ES256", "active") != prepared {
		t.Error("another key signs than the prepared one")
	}
	_, jwks = ask(t, w.app, http.MethodGet, "/.well-known/jwks.json", "")
	if strings.Contains(jwks, active) || !strings.Contains(jwks, prepared) || !strings.Contains(jwks, w.kid("ES256", "prepared")) {
		t.Error(jwks)
	}
	w.as(http.MethodPost, "/v1/signing-keys/"+active+"/revoke", "").is(t, 200)
	for _, kid := range []string{"sig_01jzt3v0q8n4m6x2c9k7b5h1d0", "key_01jzt3v0q8n4m6x2c9k7b5h1d0"} {
		w.as(http.MethodPost, "/v1/signing-keys/"+kid+"/revoke", "").is(t, 404)
		w.as(http.MethodGet, "/v1/signing-keys/"+kid, "").is(t, 404)
	}
	for _, kid := range []string{"sa_01jzt3v0q8n4m6x2c9k7b5h1d0", "sig_01JZT3V0Q8N4M6X2C9K7B5H1D0", "sig_1", "x"} {
		w.as(http.MethodPost, "/v1/signing-keys/"+kid+"/revoke", "").is(t, 400)
		w.as(http.MethodGet, "/v1/signing-keys/"+kid, "").is(t, 400)
	}
}

func TestNoAnswerAboutSigningKeysHasAPrivatePart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.as(http.MethodPost, "/v1/resource-servers", `{"identifier":"https://a.example","name":"a","signing_alg":"RS256"}`).is(t, 201)
	w.as(http.MethodPost, "/v1/resource-servers", `{"identifier":"https://b.example","name":"b","signing_alg":"EdDSA"}`).is(t, 201)
	for _, item := range w.as(http.MethodGet, "/v1/signing-keys", "").is(t, 200).member("items").([]any) {
		key := item.(map[string]any)
		jwk := key["jwk"].(map[string]any)
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if jwk[private] != nil || key[private] != nil {
				t.Errorf("%v has %s", key["kid"], private)
			}
		}
		if jwk["kid"] != key["kid"] || jwk["alg"] != key["algorithm"] {
			t.Errorf("%v", key)
		}
	}
	m := w.send("", http.MethodGet, "/.well-known/openid-configuration", "").is(t, 200)
	if got := m.member("id_token_signing_alg_values_supported").([]any); !slices.Equal(got, []any{"ES256", "EdDSA", "RS256"}) {
		t.Errorf("algorithms %v", got)
	}
}

// Of the roles that are built in, the auditor reads keys, the operator turns
// them, and the validator has nothing to do with them.
func TestSigningKeysByRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	active := w.kid("ES256", "active")
	for role, want := range map[string][3]int{
		identity.RoleAuditorID: {200, 403, 403}, identity.RoleOperatorID: {200, 409, 404}, identity.RoleValidatorID: {403, 403, 403},
	} {
		bearer := w.token(w.account("a"+role[len(role)-1:], role), "resource", identity.ManagementIdentifier)
		w.send(bearer, http.MethodGet, "/v1/signing-keys/"+active, "").is(t, want[0])
		w.send(bearer, http.MethodPost, "/v1/signing-keys/rotate", `{"expected_active_kid":"`+active+`"}`).is(t, want[1])
		w.send(bearer, http.MethodPost, "/v1/signing-keys/sig_01jzt3v0q8n4m6x2c9k7b5h1d0/revoke", "").is(t, want[2])
	}
}

func TestTheKeySetCanBeAskedForAgainAndSaysHowLongItIsFresh(t *testing.T) {
	t.Parallel()
	keys := someKeys(t)
	keys.SetPolicy(keyring.Policy{MaxAge: time.Second})
	app, err := newApp(Deps{Issuer: testIssuer, Keys: keys, Clock: testkit.Clock(t)})
	must(t, err)
	first, body := ask(t, app, http.MethodGet, "/.well-known/jwks.json", "")
	etag := first.Header.Get("ETag")
	if first.Header.Get("Cache-Control") != "public, max-age=1" || body == "" || etag == "" {
		t.Errorf("%v", first.Header)
	}
	again, body := ask(t, app, http.MethodGet, "/.well-known/jwks.json", "", "If-None-Match", etag)
	if again.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("%d %s", again.StatusCode, body)
	}
	// A bystander's failure is none of the key set's.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if keys.Reload(ended) == nil {
		t.Error("loaded without time")
	}
	if still, _ := ask(t, app, http.MethodGet, "/.well-known/jwks.json", "", "If-None-Match", etag); still.StatusCode != http.StatusNotModified {
		t.Errorf("%d", still.StatusCode)
	}
}
