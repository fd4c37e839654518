package httpapi

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/identity"
)

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

// Section 5.1: the successful answer, and what must not be in it.
func TestTokenAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, clerk := w.invoices()
	c := w.account("reader", clerk)
	a := w.post("/oauth2/token", "grant_type", "client_credentials", "resource", "https://invoices.example.com",
		"Authorization:", basic(c.id, c.secret)).is(t, http.StatusOK)
	if a.str("token_type") != "Bearer" || a.str("scope") != "invoices:read" || a.member("expires_in") != 900.0 || a.str("access_token") == "" {
		t.Error(a.text)
	}
	if a.member("refresh_token") != nil {
		t.Error("a refresh token was issued")
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Pragma") != "no-cache" ||
		a.Header.Get("Content-Type") != "application/json" {
		t.Error(a.Header)
	}
}

// Section 5.2: every refusal of the token endpoint, with its exact error.
func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, clerk := w.invoices()
	c := w.account("reader", clerk)
	const grantType, credentials, resource = "grant_type", "client_credentials", "resource"
	const invoices = "https://invoices.example.com"
	form := func(pairs ...string) []string {
		return append([]string{"client_id", c.id, "client_secret", c.secret}, pairs...)
	}
	header := func(pairs ...string) []string {
		return append([]string{"Authorization:", basic(c.id, c.secret)}, pairs...)
	}
	wrong := identity.GenerateClientSecret().Reveal()
	cases := []struct {
		name      string
		pairs     []string
		status    int
		code      string
		challenge bool
	}{
		{"wrong secret in the form", []string{grantType, credentials, "client_id", c.id, "client_secret", wrong}, 401, "invalid_client", false},
		{"wrong secret by Basic", []string{grantType, credentials, "Authorization:", basic(c.id, wrong)}, 401, "invalid_client", true},
		{"unknown client by Basic", []string{grantType, credentials, "Authorization:", basic("sa_01jzt3v0q8n4m6x2c9k7b5h1d0", wrong)}, 401, "invalid_client", true},
		{"malformed Basic", []string{grantType, credentials, "Authorization:", "Basic !"}, 401, "invalid_client", true},
		{"another scheme", []string{grantType, credentials, "Authorization:", "Digest x"}, 401, "invalid_client", true},
		{"no client", []string{grantType, credentials}, 401, "invalid_client", false},
		{"client without a secret", []string{grantType, credentials, "client_id", c.id}, 401, "invalid_client", false},
		{"unknown grant", form(grantType, "password", "username", "u", "password", "p"), 400, "unsupported_grant_type", false},
		{"implicit grant", form(grantType, "implicit"), 400, "unsupported_grant_type", false},
		{"no grant", form(resource, invoices), 400, "invalid_request", false},
		{"empty grant", form(grantType, "", resource, invoices), 400, "invalid_request", false},
		{"scope too wide", form(grantType, credentials, resource, invoices, "scope", "invoices:write"), 400, "invalid_scope", false},
		{"scope malformed", form(grantType, credentials, resource, invoices, "scope", " invoices:read"), 400, "invalid_scope", false},
		{"two client authentications", header("client_id", c.id, "client_secret", c.secret, grantType, credentials), 400, "invalid_request", false},
		{"two Authorization headers", header("Authorization:", basic(c.id, c.secret), grantType, credentials), 400, "invalid_request", false},
		{"another client_id beside Basic", header("client_id", w.admin.id, grantType, credentials), 400, "invalid_request", false},
		{"NUL in a parameter", form(grantType, credentials, "scope", "a\x00"), 400, "invalid_request", false},
		// RFC 8707 section 2.
		{"relative resource", form(grantType, credentials, resource, "invoices"), 400, "invalid_target", false},
		{"resource with a fragment", form(grantType, credentials, resource, invoices+"#x"), 400, "invalid_target", false},
		{"unknown resource", form(grantType, credentials, resource, "https://other.example.com"), 400, "invalid_target", false},
		{"resource where the account may do nothing", form(grantType, credentials, resource, identity.ManagementIdentifier), 400, "invalid_target", false},
		{"no resource and no default", form(grantType, credentials), 400, "invalid_target", false},
		{"two resources", form(grantType, credentials, resource, invoices, resource, identity.ManagementIdentifier), 400, "invalid_request", false},
		{"resource and audience differ", form(grantType, credentials, resource, invoices, "audience", "urn:x"), 400, "invalid_request", false},
	}
	for _, c := range cases {
		a := w.post("/oauth2/token", c.pairs...)
		if a.StatusCode != c.status || a.str("error") != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, a.StatusCode, a.text, c.status, c.code)
		}
		if got := a.Header.Get("WWW-Authenticate"); strings.HasPrefix(got, "Basic ") != c.challenge || !c.challenge && got != "" {
			t.Errorf("%s: WWW-Authenticate %q", c.name, got)
		}
		if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %v", c.name, a.Header)
		}
	}
}

func TestEachParameterStandsOnceAtTheTokenEndpoint(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name := range formSchemas(t)["tokens.issue"].Properties {
		a := w.post("/oauth2/token", "grant_type", "client_credentials", name, "a", name, "a")
		if a.StatusCode != http.StatusBadRequest || a.str("error") != "invalid_request" {
			t.Errorf("%s twice: %d %s", name, a.StatusCode, a.text)
		}
	}
}

func TestTheTokenEndpointTakesFormsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bodies := map[string]string{
		"application/json":                fmt.Sprintf(`{"grant_type":"client_credentials","client_id":%q,"client_secret":%q}`, w.admin.id, w.admin.secret),
		"application/xml":                 "<grant_type>client_credentials</grant_type>",
		"text/plain":                      "grant_type=client_credentials&client_id=" + w.admin.id + "&client_secret=" + w.admin.secret,
		"multipart/form-data; boundary=x": "--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_credentials\r\n--x--\r\n",
	}
	for contentType, body := range bodies {
		resp, text := ask(t, w.app, http.MethodPost, "/oauth2/token", body, "Content-Type", contentType)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(text, `"error":"invalid_request"`) {
			t.Errorf("%s: %d %s", contentType, resp.StatusCode, text)
		}
	}
}

// Section 2.3.1: both halves are form-urlencoded before they are joined.
func TestBasicIsFormUrlencodedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	escape := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, "%%%02x", s[i])
		}
		return b.String()
	}
	w.post("/oauth2/token", "grant_type", "client_credentials", "resource", identity.ManagementIdentifier,
		"Authorization:", basic(escape(w.admin.id), escape(w.admin.secret))).is(t, http.StatusOK)
}

func TestCredentialsInTheQueryAreNeverRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	query := "?" + url.Values{
		"grant_type": {"client_credentials"}, "client_id": {w.admin.id}, "client_secret": {w.admin.secret},
		"resource": {identity.ManagementIdentifier},
	}.Encode()
	if a := w.post("/oauth2/token"+query, "grant_type", "client_credentials"); a.StatusCode != 401 || a.str("error") != "invalid_client" {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	if a := w.post("/oauth2/token" + query); a.StatusCode != 401 {
		t.Errorf("%d %s", a.StatusCode, a.text)
	}
	resp, _ := ask(t, w.app, http.MethodGet, "/oauth2/token"+query, "")
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != http.MethodPost {
		t.Errorf("GET: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
}

// A stranger cannot tell an unknown client from a wrong secret.
func TestUnknownClientAndWrongSecretAreOneAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wrong := identity.GenerateClientSecret().Reveal()
	known := w.post("/oauth2/token", "grant_type", "client_credentials", "client_id", w.admin.id, "client_secret", wrong)
	for _, id := range []string{"sa_01jzt3v0q8n4m6x2c9k7b5h1d0", "nobody", "sa_"} {
		unknown := w.post("/oauth2/token", "grant_type", "client_credentials", "client_id", id, "client_secret", wrong)
		if unknown.StatusCode != known.StatusCode || unknown.text != known.text {
			t.Errorf("%s: %d %s", id, unknown.StatusCode, unknown.text)
		}
		if diff := cmp.Diff(slices.Sorted(maps.Keys(known.Header)), slices.Sorted(maps.Keys(unknown.Header))); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
}

func TestTooManyFailuresAreToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wrong := identity.GenerateClientSecret().Reveal()
	var last answer
	for range 11 {
		last = w.post("/oauth2/token", "grant_type", "client_credentials", "client_id", w.admin.id, "client_secret", wrong)
	}
	if last.StatusCode != http.StatusTooManyRequests || last.str("error") != "rate_limited" || last.Header.Get("Retry-After") != "30" {
		t.Errorf("%d %s, Retry-After %q", last.StatusCode, last.text, last.Header.Get("Retry-After"))
	}
}
