package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/server/internal/api"
)

// RFC 8414 section 3.1, and section 5 for the OpenID name: where the metadata
// of an issuer is, and that the issuer in it is the same byte for byte.
func TestMetadataIsWhereTheIssuerSays(t *testing.T) {
	t.Parallel()
	cases := []struct {
		issuer, root string
		paths        []string
	}{
		{"https://marque.example.com", "https://marque.example.com", []string{
			"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"}},
		{"https://marque.example.com/", "https://marque.example.com", []string{
			"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"}},
		{"https://marque.example.com:8443/tenants/one", "https://marque.example.com:8443/tenants/one", []string{
			"/.well-known/oauth-authorization-server/tenants/one", "/.well-known/openid-configuration/tenants/one",
			"/tenants/one/.well-known/openid-configuration", "/tenants/one/.well-known/oauth-authorization-server"}},
		{"https://marque.example.com/one/", "https://marque.example.com/one", []string{
			"/.well-known/oauth-authorization-server/one", "/one/.well-known/openid-configuration"}},
	}
	for _, c := range cases {
		t.Run(c.issuer, func(t *testing.T) {
			t.Parallel()
			app := edge(t, c.issuer)
			for _, path := range c.paths {
				resp, body := ask(t, app, http.MethodGet, path, "")
				var m api.Metadata
				if err := json.Unmarshal([]byte(body), &m); err != nil || resp.StatusCode != http.StatusOK {
					t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
				}
				if m.Issuer != c.issuer || m.TokenEndpoint != c.root+"/oauth2/token" || m.JwksURI != c.root+"/.well-known/jwks.json" ||
					m.IntrospectionEndpoint != c.root+"/oauth2/introspect" || m.RevocationEndpoint != c.root+"/oauth2/revoke" {
					t.Errorf("%s: %+v", path, m)
				}
			}
		})
	}
}

func TestMetadataFitsTheContractAndSaysNothingElse(t *testing.T) {
	t.Parallel()
	_, body := ask(t, edge(t, testIssuer), http.MethodGet, "/.well-known/openid-configuration", "")
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	schema := spec(t).Components.Schemas["Metadata"].Value
	if err := schema.VisitJSON(m, openapi3.VisitAsResponse()); err != nil {
		t.Error(err)
	}
	for name := range m {
		if schema.Properties[name] == nil {
			t.Errorf("%s is published and not documented", name)
		}
	}
}

func TestAPathIssuerHasItsRoutesBelowItsPathOnly(t *testing.T) {
	t.Parallel()
	app := edge(t, "https://marque.example.com/one")
	for path, want := range map[string]int{
		"/one/v1/roles": http.StatusUnauthorized, "/v1/roles": http.StatusNotFound,
		"/one/openapi.json": http.StatusOK, "/openapi.json": http.StatusNotFound,
		"/.well-known/openid-configuration": http.StatusNotFound,
	} {
		if resp, body := ask(t, app, http.MethodGet, path, ""); resp.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", path, resp.StatusCode, body, want)
		}
	}
	for _, endpoint := range []string{"token", "introspect", "revoke"} {
		resp, body := ask(t, app, http.MethodGet, "/one/oauth2/"+endpoint, "")
		if resp.StatusCode != http.StatusMethodNotAllowed || !strings.HasPrefix(body, `{"error":"invalid_request"`) {
			t.Errorf("%s answers as no OAuth endpoint: %d %s", endpoint, resp.StatusCode, body)
		}
	}
}

func TestIssuersThatCannotBePublishedAreRefused(t *testing.T) {
	t.Parallel()
	for _, issuer := range []string{
		"", "marque.example.com", "http://marque.example.com", "https://", "https://marque.example.com?x=1",
		"https://marque.example.com?", "https://marque.example.com#", "https://u:p@marque.example.com",
		"https://marque.example.com/:id", "https://marque.example.com/*", "https://marque.example.com/a%2Fb",
		"https://marque.example.com//a", "https://marque.example.com/a//",
	} {
		if _, err := newApp(Deps{Issuer: issuer}); err == nil {
			t.Errorf("%q was taken", issuer)
		}
	}
}

func TestPublicDocumentsCanBeCachedAndAskedForAgain(t *testing.T) {
	t.Parallel()
	app := edge(t, testIssuer)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/openapi.json"} {
		first, body := ask(t, app, http.MethodGet, path, "")
		etag := first.Header.Get("ETag")
		if etag == "" || first.Header.Get("Cache-Control") != "public, max-age=300" || body == "" ||
			first.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", path, first.Header)
		}
		again, body := ask(t, app, http.MethodGet, path, "", "If-None-Match", `W/"x", `+etag)
		if again.StatusCode != http.StatusNotModified || body != "" || again.Header.Get("ETag") != etag {
			t.Errorf("%s again: %d %q", path, again.StatusCode, body)
		}
		head, body := ask(t, app, http.MethodHead, path, "")
		if head.StatusCode != http.StatusOK || body != "" || head.Header.Get("ETag") != etag {
			t.Errorf("HEAD %s: %d %q", path, head.StatusCode, body)
		}
	}
}

func TestTheContractIsServedAsItIsWithThisServerInIt(t *testing.T) {
	t.Parallel()
	_, body := ask(t, edge(t, testIssuer), http.MethodGet, "/openapi.json", "")
	served, err := openapi3.NewLoader().LoadFromData([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if len(served.Servers) != 1 || served.Servers[0].URL != testIssuer {
		t.Errorf("servers: %+v", served.Servers)
	}
	want := spec(t)
	for path, item := range want.Paths.Map() {
		for method, op := range item.Operations() {
			got := served.Paths.Value(path).GetOperation(method)
			if got == nil || got.OperationID != op.OperationID {
				t.Errorf("%s %s: %+v", method, path, got)
			}
		}
	}
}
