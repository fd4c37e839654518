package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// opened is what stands in a token, unverified.
func opened(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		must(t, err)
		must(t, json.Unmarshal(text, into))
	}
	return header, claims
}

// RFC 9068 section 2: header and claims of an access token, and no others.
func TestAccessTokenProfile(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, w *world) {
		_, role := w.invoices()
		other := w.as(http.MethodPost, "/v1/resource-servers", `{"identifier":"https://payroll.example.com","name":"payroll","permissions":[{"name":"payroll:read"}]}`).is(t, 201).str("id")
		elsewhere := w.as(http.MethodPost, "/v1/roles", `{"name":"payer","permissions":[{"resource_server":"`+other+`","permission":"payroll:read"}]}`).is(t, 201).str("id")
		empty := w.as(http.MethodPost, "/v1/roles", `{"name":"empty"}`).is(t, 201).str("id")
		agent := w.account("agent", role, elsewhere, empty)
		header, claims := opened(t, w.token(agent, "resource", "https://invoices.example.com"))
		if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] == "" || len(header) != 3 {
			t.Errorf("header %v", header)
		}
		now := float64(w.clock.Now().Unix())
		want := map[string]any{
			"iss": testIssuer, "sub": agent.id, "client_id": agent.id, "aud": "https://invoices.example.com",
			"iat": now, "nbf": now, "exp": now + 900, "scope": "invoices:read", "roles": []any{"clerk"}, "gen": 1.0,
		}
		for name, value := range want {
			if diff := cmp.Diff(value, claims[name]); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(want)), "jti", "cred")))) {
			t.Errorf("claims %v", got)
		}
		if _, again := opened(t, w.token(agent, "resource", "https://invoices.example.com")); again["jti"] == claims["jti"] {
			t.Error("two tokens have one jti")
		}
		// A token for another audience, and one whose header says another type, are
		// no tokens of the management API's (section 4).
		for name, token := range map[string]string{
			"another audience": w.token(agent, "resource", "https://invoices.example.com"),
			"another type":     retyped(w.adminToken, "JWT"),
			"no type":          retyped(w.adminToken, ""),
		} {
			if a := w.send(token, http.MethodGet, "/v1/whoami", "").is(t, http.StatusUnauthorized); a.str("code") != "invalid_token" {
				t.Errorf("%s: %s", name, a.text)
			}
		}
	})
}

// retyped is a token with another typ in its header.
func retyped(token, typ string) string {
	first, rest, _ := strings.Cut(token, ".")
	text, _ := base64.RawURLEncoding.DecodeString(first)
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(text), "at+jwt", typ, 1))) + "." + rest
}
