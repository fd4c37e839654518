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

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/jose"
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
		// A token for another audience is none of the management API's (section 4).
		if a := w.send(w.token(agent, "resource", "https://invoices.example.com"), http.MethodGet, "/v1/whoami", "").is(t, http.StatusUnauthorized); a.str("code") != "invalid_token" {
			t.Error(a.text)
		}
	})
}

// RFC 9068 section 4: typ, iss and aud are looked at also where the signature is
// ours. A text that was merely altered would be refused for its signature.
func TestWhatOurKeySignsMustBeAnAccessTokenOfOurs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signer, err := w.keys.Signer(jose.ES256)
	must(t, err)
	for _, c := range []struct {
		name, typ  string
		claim, is  string // the claim that is another
		acceptable bool
	}{
		{"as it was", "at+jwt", "iss", testIssuer, true},
		{"another type", "JWT", "iss", testIssuer, false},
		{"a type with a prefix", "application/at+jwt", "iss", testIssuer, false},
		{"another issuer", "at+jwt", "iss", "https://other.example.com", false},
		{"the issuer with a slash", "at+jwt", "iss", testIssuer + "/", false},
		{"another audience", "at+jwt", "aud", "https://unknown.example.com", false},
		{"the audience with a slash", "at+jwt", "aud", identity.ManagementIdentifier + "/", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, claims := opened(t, w.adminToken)
			claims[c.claim] = c.is
			payload, err := json.Marshal(claims)
			must(t, err)
			token, err := jose.Sign(signer.PrivateKey, c.typ, payload)
			must(t, err)
			a := w.send(token, http.MethodGet, "/v1/whoami", "")
			i := w.post("/oauth2/introspect", "token", token, "Authorization:", basic(w.admin.id, w.admin.secret)).is(t, http.StatusOK)
			if c.acceptable {
				if a.is(t, http.StatusOK); i.member("active") != true {
					t.Errorf("introspection: %s", i.text)
				}
				return
			}
			if a.StatusCode != http.StatusUnauthorized || a.str("code") != "invalid_token" {
				t.Errorf("/v1: %d %s", a.StatusCode, a.text)
			}
			if i.text != inactive {
				t.Errorf("introspection: %s", i.text)
			}
		})
	}
}
