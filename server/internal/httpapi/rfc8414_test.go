package httpapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/api"
)

// RFC 8414 section 2: what the metadata names works, and what it does not name
// does not: no client is let in by less than its credential.
func TestAllThatTheMetadataNamesWorksAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var m api.Metadata
	must(t, json.Unmarshal([]byte(w.ask(http.MethodGet, "/.well-known/oauth-authorization-server", "").is(t, http.StatusOK).text), &m))
	at := func(url string) string {
		path, ours := strings.CutPrefix(url, strings.TrimSuffix(m.Issuer, "/"))
		if !ours {
			t.Fatalf("%s is not of the issuer %s", url, m.Issuer)
		}
		return path
	}
	asked := w.token(w.admin)
	own := func() string { return w.token(w.admin) }
	ways := map[string]func() []string{
		"client_secret_basic": func() []string { return []string{"Authorization:", basic(w.admin.id, w.admin.secret)} },
		"client_secret_post":  func() []string { return []string{"client_id", w.admin.id, "client_secret", w.admin.secret} },
		"none":                func() []string { return []string{"client_id", w.admin.id} },
		"Bearer":              func() []string { return []string{"Authorization:", "Bearer " + w.adminToken} },
		"private_key_jwt": func() []string {
			return []string{"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", asked}
		},
	}
	for _, endpoint := range []struct {
		url     string
		methods []string
		call    func() []string
		worked  func(a answer) bool
	}{
		{m.TokenEndpoint, m.TokenEndpointAuthMethodsSupported, func() []string { return []string{"grant_type", "client_credentials"} },
			func(a answer) bool { return a.StatusCode == http.StatusOK && a.str("access_token") != "" }},
		{m.IntrospectionEndpoint, m.IntrospectionEndpointAuthMethodsSupported, func() []string { return []string{"token", asked} },
			func(a answer) bool { return a.StatusCode == http.StatusOK && a.member("active") == true }},
		{m.RevocationEndpoint, m.RevocationEndpointAuthMethodsSupported, func() []string { return []string{"token", own()} },
			func(a answer) bool { return a.StatusCode == http.StatusOK }},
	} {
		for _, named := range endpoint.methods {
			if ways[named] == nil {
				t.Errorf("%s: the metadata names %q", endpoint.url, named)
			}
		}
		for _, way := range slices.Sorted(maps.Keys(ways)) {
			a := w.post(at(endpoint.url), append(endpoint.call(), ways[way]()...)...)
			named := slices.Contains(endpoint.methods, way)
			if named != endpoint.worked(a) {
				t.Errorf("%s by %s, named %v: %d %s", endpoint.url, way, named, a.StatusCode, a.text)
			}
			if !named && a.StatusCode != http.StatusUnauthorized && a.StatusCode != http.StatusBadRequest {
				t.Errorf("%s by %s: %d %s", endpoint.url, way, a.StatusCode, a.text)
			}
		}
	}

	const urn = "urn:ietf:params:oauth:grant-type:"
	for _, grant := range append([]string{
		"client_credentials", "authorization_code", "implicit", "password", "refresh_token", urn + "jwt-bearer", urn + "saml2-bearer",
		urn + "token-exchange", urn + "device_code", "api_key",
	}, m.GrantTypesSupported...) {
		a := w.post(at(m.TokenEndpoint), "grant_type", grant, "client_id", w.admin.id, "client_secret", w.admin.secret,
			"username", "a", "password", "b", "code", "c", "refresh_token", "d", "assertion", asked, "subject_token", asked)
		if named := slices.Contains(m.GrantTypesSupported, grant); named {
			a.is(t, http.StatusOK)
		} else if a.is(t, http.StatusBadRequest); a.str("error") != "unsupported_grant_type" {
			t.Errorf("%s: %s", grant, a.text)
		}
	}
	if m.ResponseTypesSupported == nil || len(m.ResponseTypesSupported) > 0 {
		t.Errorf("response types %q, and there is no authorization endpoint", m.ResponseTypesSupported)
	}

	var jwks struct{ Keys []struct{ Alg string } }
	must(t, json.Unmarshal([]byte(w.ask(http.MethodGet, at(m.JwksURI), "").is(t, http.StatusOK).text), &jwks))
	var algorithms []string
	for _, key := range jwks.Keys {
		algorithms = append(algorithms, key.Alg)
	}
	slices.Sort(algorithms)
	if named := slices.Sorted(slices.Values(m.IDTokenSigningAlgValuesSupported)); !slices.Equal(slices.Compact(algorithms), named) || len(named) == 0 {
		t.Errorf("algorithms %q, of keys with %q", named, algorithms)
	}
}
