package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/identity"
)

const inactive = `{"active":false}`

// RFC 7662 section 2.
func TestIntrospection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rs, clerk := w.invoices()
	agent := w.account("agent", clerk)
	api := w.account("invoices-api")
	stranger := w.account("stranger", clerk)
	w.as(http.MethodPatch, "/v1/resource-servers/"+rs, `{"introspectors":["`+api.id+`"]}`).is(t, http.StatusOK)
	raw := w.token(agent, "resource", "https://invoices.example.com")
	introspect := func(c client, raw string, more ...string) answer {
		return w.post("/oauth2/introspect", append([]string{"token", raw, "Authorization:", basic(c.id, c.secret)}, more...)...)
	}

	for name, a := range map[string]answer{
		"an introspector of the resource server": introspect(api, raw),
		"with a wrong hint":                      introspect(api, raw, "token_type_hint", "refresh_token"),
		"a holder of tokens:introspect":          introspect(w.admin, raw),
		"by client_secret_post":                  w.post("/oauth2/introspect", "token", raw, "client_id", api.id, "client_secret", api.secret),
		"by a bearer token": w.post("/oauth2/introspect", "token", raw,
			"Authorization:", "Bearer "+w.adminToken),
	} {
		a.is(t, http.StatusOK)
		var got map[string]any
		must(t, json.Unmarshal([]byte(a.text), &got))
		want := []string{"active", "aud", "client_id", "cred", "exp", "gen", "iat", "iss", "jti", "nbf", "roles", "scope", "sub", "token_type"}
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" || got["active"] != true || got["client_id"] != agent.id {
			t.Errorf("%s: %s\n%s", name, a.text, diff)
		}
		if err := spec(t).Components.Schemas["Introspection"].Value.VisitJSON(got, openapi3.VisitAsResponse()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", name, a.Header)
		}
	}

	narrow := w.token(w.admin, "resource", identity.ManagementIdentifier, "scope", identity.PermAuditRead)
	for name, a := range map[string]answer{
		"somebody else":                introspect(stranger, raw),
		"the account itself":           introspect(agent, raw),
		"a bearer without the right":   w.post("/oauth2/introspect", "token", raw, "Authorization:", "Bearer "+narrow),
		"garbage":                      introspect(api, "garbage"),
		"a token with another ending":  introspect(api, raw[:len(raw)-4]+"AAAA"),
		"something with four parts":    introspect(api, raw+".x"),
		"another resource server's":    introspect(api, w.adminToken),
		"a token that is far too long": introspect(api, strings.Repeat("a", 20000)),
	} {
		if a.is(t, http.StatusOK).text != inactive {
			t.Errorf("%s: %s", name, a.text)
		}
	}

	w.as(http.MethodPost, "/v1/service-accounts/"+agent.id+"/revocations", "").is(t, http.StatusOK)
	if a := introspect(api, raw).is(t, http.StatusOK); a.text != inactive {
		t.Errorf("after the account's revocation: %s", a.text)
	}
}

// RFC 7009 section 2.
func TestRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, clerk := w.invoices()
	agent, stranger := w.account("agent", clerk), w.account("stranger", clerk)
	state := func(raw string) string {
		return w.post("/oauth2/introspect", "token", raw, "Authorization:", basic(w.admin.id, w.admin.secret)).is(t, 200).text
	}
	revoke := func(c client, raw string, more ...string) answer {
		return w.post("/oauth2/revoke", append([]string{"token", raw, "Authorization:", basic(c.id, c.secret)}, more...)...)
	}

	raw := w.token(agent, "resource", "https://invoices.example.com")
	if a := revoke(stranger, raw).is(t, http.StatusBadRequest); a.str("error") != "unauthorized_client" {
		t.Errorf("another client's token: %s", a.text)
	}
	if state(raw) == inactive {
		t.Error("a stranger's attempt has ended the token")
	}
	if a := revoke(agent, raw, "token_type_hint", "nonsense").is(t, http.StatusOK); a.text != "" {
		t.Errorf("its own token: %q", a.text)
	}
	if got := state(raw); got != inactive {
		t.Errorf("after its revocation: %s", got)
	}
	revoke(agent, raw).is(t, http.StatusOK)
	revoke(agent, "garbage").is(t, http.StatusOK)

	second := w.token(agent, "resource", "https://invoices.example.com")
	if state(second) == inactive {
		t.Error("revoking one token has ended another")
	}
	w.post("/oauth2/revoke", "token", second, "Authorization:", "Bearer "+w.adminToken).is(t, http.StatusOK)
	if state(second) != inactive {
		t.Error("a holder of tokens:revoke could not end a token")
	}
}

// What introspection and revocation refuse, alike.
func TestRefusalsOfIntrospectionAndRevocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wrong := identity.GenerateClientSecret().Reveal()
	good, bearer := basic(w.admin.id, w.admin.secret), "Bearer "+w.adminToken
	cases := []struct {
		name      string
		pairs     []string
		status    int
		code      string
		challenge string
	}{
		{"nobody", []string{"token", "x"}, 401, "invalid_client", ""},
		{"wrong secret by Basic", []string{"token", "x", "Authorization:", basic(w.admin.id, wrong)}, 401, "invalid_client", `Basic realm="marque", charset="UTF-8"`},
		{"wrong secret in the form", []string{"token", "x", "client_id", w.admin.id, "client_secret", wrong}, 401, "invalid_client", ""},
		{"bad bearer", []string{"token", "x", "Authorization:", "Bearer x"}, 401, "invalid_token", `Bearer realm="marque", error="invalid_token"`},
		{"bearer and client", []string{"token", "x", "client_id", w.admin.id, "client_secret", w.admin.secret, "Authorization:", "Bearer " + w.adminToken}, 400, "invalid_request", ""},
		{"Basic and client", []string{"token", "x", "client_secret", w.admin.secret, "Authorization:", good}, 400, "invalid_request", ""},
		{"two headers", []string{"token", "x", "Authorization:", good, "Authorization:", "Bearer " + w.adminToken}, 400, "invalid_request", ""},
		{"two bearer headers", []string{"token", "x", "Authorization:", bearer, "Authorization:", bearer}, 400, "invalid_request", ""},
		{"no token after the scheme", []string{"token", "x", "Authorization:", "Bearer"}, 401, "invalid_client", `Bearer realm="marque"`},
		{"bearer in header and form", []string{"token", "x", "access_token", w.adminToken, "Authorization:", bearer}, 400, "invalid_request", `Bearer realm="marque", error="invalid_request"`},
		{"bearer in the form alone", []string{"token", "x", "access_token", w.adminToken}, 401, "invalid_client", ""},
		{"no token", []string{"Authorization:", good}, 400, "invalid_request", ""},
		{"empty token", []string{"token", "", "Authorization:", good}, 400, "invalid_request", ""},
		{"token twice", []string{"token", "x", "token", "x", "Authorization:", good}, 400, "invalid_request", ""},
	}
	for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
		for _, c := range cases {
			a := w.post(path, c.pairs...)
			got := a.Header.Get("WWW-Authenticate")
			if a.StatusCode != c.status || a.str("error") != c.code || !strings.HasPrefix(got, c.challenge) ||
				c.code == "invalid_client" && got != c.challenge || c.challenge == "" && got != "" {
				t.Errorf("%s, %s: %d %s, WWW-Authenticate %q", path, c.name, a.StatusCode, a.text, got)
			}
			if a.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s, %s: %v", path, c.name, a.Header)
			}
		}
	}
}

// RFC 9068 section 2, RFC 8707 section 2: what stands in a token.
func TestTheTokenIsInTheProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, clerk := w.invoices()
	agent := w.account("agent", clerk)
	raw := w.token(agent, "audience", "https://invoices.example.com")
	parts := strings.Split(raw, ".")
	var header, claims map[string]any
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		must(t, err)
		must(t, json.Unmarshal(text, into))
	}
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" || len(header) != 3 {
		t.Errorf("%v", header)
	}
	for name, want := range map[string]any{
		"iss": testIssuer, "sub": agent.id, "client_id": agent.id, "aud": "https://invoices.example.com", "scope": "invoices:read",
	} {
		if claims[name] != want {
			t.Errorf("%s: %v, want %v", name, claims[name], want)
		}
	}
	for _, name := range []string{"exp", "iat", "jti", "nbf", "roles", "gen", "cred"} {
		if claims[name] == nil {
			t.Errorf("no %s", name)
		}
	}

	resp, body := ask(t, w.app, http.MethodGet, "/.well-known/jwks.json", "")
	var set struct{ Keys []map[string]any }
	must(t, json.Unmarshal([]byte(body), &set))
	if !slices.ContainsFunc(set.Keys, func(k map[string]any) bool { return k["kid"] == header["kid"] }) || strings.Contains(body, `"d"`) {
		t.Errorf("the key of the token is not in %s", body)
	}
	if resp.Header.Get("Cache-Control") != "public, max-age=300" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error(resp.Header)
	}
	var plain any
	must(t, json.Unmarshal([]byte(body), &plain))
	if err := spec(t).Components.Schemas["JSONWebKeySet"].Value.VisitJSON(plain, openapi3.VisitAsResponse()); err != nil {
		t.Error(err)
	}
	again, _ := ask(t, w.app, http.MethodGet, "/.well-known/jwks.json", "", "If-None-Match", resp.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("asked again: %d", again.StatusCode)
	}
}
