package httpapi

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// RFC 6750 sections 2 and 3: the exact answers of the management API.
func TestBearerTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "/v1/service-accounts"
	narrow := w.token(w.admin, "resource", identity.ManagementIdentifier, "scope", identity.PermAuditRead)
	good := "Bearer " + w.adminToken
	cases := []struct {
		name, target string
		header       []string
		status       int
		code         string
		challenge    string // the beginning of WWW-Authenticate
	}{
		{"no token", path, nil, 401, "unauthenticated", `Bearer realm="marque"`},
		{"another scheme", path, []string{basic(w.admin.id, w.admin.secret)}, 401, "unauthenticated", `Bearer realm="marque"`},
		{"no token after the scheme", path, []string{"Bearer"}, 401, "unauthenticated", `Bearer realm="marque"`},
		{"garbage", path, []string{"Bearer x"}, 401, "invalid_token", `Bearer realm="marque", error="invalid_token"`},
		{"two tokens in one header", path, []string{good + " " + w.adminToken}, 401, "invalid_token", `Bearer realm="marque", error="invalid_token"`},
		{"scheme in lower case", path, []string{"bearer " + w.adminToken}, 200, "", ""},
		{"missing permission", path, []string{"Bearer " + narrow}, 403, "insufficient_scope", `Bearer realm="marque", error="insufficient_scope"`},
		{"token in the query", path + "?access_token=" + w.adminToken, nil, 400, "invalid_request", `Bearer realm="marque", error="invalid_request"`},
		{"token in query and header", path + "?access_token=" + w.adminToken, []string{good}, 400, "invalid_request", `Bearer realm="marque", error="invalid_request"`},
		{"token twice", path, []string{good, good}, 400, "invalid_request", `Bearer realm="marque", error="invalid_request"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var header []string
			for _, h := range c.header {
				header = append(header, "Authorization", h)
			}
			a := w.send("", http.MethodGet, c.target, "", header...).is(t, c.status)
			if got := a.Header.Get("WWW-Authenticate"); a.str("code") != c.code || !strings.HasPrefix(got, c.challenge) ||
				c.code == "unauthenticated" && got != c.challenge || c.code == "" && got != "" {
				t.Errorf("%s, WWW-Authenticate %q", a.text, got)
			}
			if strings.Contains(a.text, w.adminToken) {
				t.Error("the answer repeats the token")
			}
		})
	}
}

// The OAuth endpoints that take a bearer say the same of a token in the query,
// whoever else the request is from, and also where all but the query is recalled.
func TestATokenInTheQueryIsRefusedAtOAuthEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, pairs := range map[string][]string{
		"nobody":           nil,
		"a bearer":         {"Authorization:", "Bearer " + w.adminToken},
		"Basic":            {"Authorization:", basic(w.admin.id, w.admin.secret)},
		"client in a form": {"client_id", w.admin.id, "client_secret", w.admin.secret},
	} {
		pairs = append(pairs, "token", w.adminToken)
		if name != "nobody" {
			w.post("/oauth2/introspect", pairs...).is(t, http.StatusOK)
		}
		for _, target := range []string{"/oauth2/introspect?access_token=" + w.adminToken, "/oauth2/introspect?access_token=", "/oauth2/revoke?access_token=" + w.adminToken} {
			a := w.post(target, pairs...)
			if got := a.Header.Get("WWW-Authenticate"); a.StatusCode != http.StatusBadRequest || a.str("error") != "invalid_request" ||
				!strings.HasPrefix(got, `Bearer realm="marque", error="invalid_request"`) {
				t.Errorf("%s at %s: %d %s, WWW-Authenticate %q", name, target, a.StatusCode, a.text, got)
			}
		}
	}
	w.as(http.MethodGet, "/v1/whoami", "").is(t, http.StatusOK) // nothing was revoked
}

func TestAnExpiredTokenIsInvalid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.as(http.MethodGet, "/v1/whoami", "").is(t, http.StatusOK)
	w.clock.Advance(16 * time.Minute)
	if a := w.as(http.MethodGet, "/v1/whoami", "").is(t, http.StatusUnauthorized); a.str("code") != "invalid_token" {
		t.Error(a.text)
	}
}

// A stop that stops: what disabling, deleting and revoking do to live tokens.
func TestTokensDieWithWhatTheyRestOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, stop := range map[string]func(c client){
		"disabled": func(c client) { w.as(http.MethodPost, "/v1/service-accounts/"+c.id+"/disable", "").is(t, 200) },
		"revoked":  func(c client) { w.as(http.MethodPost, "/v1/service-accounts/"+c.id+"/revocations", "").is(t, 200) },
		"deleted":  func(c client) { w.as(http.MethodDelete, "/v1/service-accounts/"+c.id, "").is(t, 204) },
	} {
		c := w.account(name, identity.RoleAuditorID)
		raw := w.token(c, "resource", identity.ManagementIdentifier)
		w.send(raw, http.MethodGet, "/v1/roles", "").is(t, http.StatusOK)
		stop(c)
		if a := w.send(raw, http.MethodGet, "/v1/roles", "").is(t, http.StatusUnauthorized); a.str("code") != "invalid_token" {
			t.Errorf("%s: %s", name, a.text)
		}
	}
}

// Fiber's own limit of 4 KiB would refuse tokens that we issue.
func TestTheLargestTokenIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var declared, granted []string
	for i := range 40 {
		name := strings.Repeat("x", 85) + ":" + string(rune('A'+i/26)) + string(rune('a'+i%26))
		declared = append(declared, `{"name":"`+name+`"}`)
		granted = append(granted, name)
	}
	rs := w.as(http.MethodPost, "/v1/resource-servers",
		`{"identifier":"https://large.example.com","name":"large","permissions":[`+strings.Join(declared, ",")+`]}`).is(t, 201).str("id")
	var permissions []string
	for _, name := range granted {
		permissions = append(permissions, `{"resource_server":"`+rs+`","permission":"`+name+`"}`)
	}
	role := w.as(http.MethodPost, "/v1/roles", `{"name":"large","permissions":[`+strings.Join(permissions, ",")+`]}`).is(t, 201).str("id")
	raw := w.token(w.account("large", role), "resource", "https://large.example.com")
	if len(raw) < 5000 {
		t.Fatalf("the token has %d bytes only", len(raw))
	}
	// It is read whole, and refused for its audience alone.
	if a := w.send(raw, http.MethodGet, "/v1/whoami", "").is(t, http.StatusUnauthorized); a.str("code") != "invalid_token" {
		t.Error(a.text)
	}
	a := w.post("/oauth2/introspect", "token", raw, "Authorization:", basic(w.admin.id, w.admin.secret)).is(t, http.StatusOK)
	if a.member("active") != true {
		t.Error(a.text)
	}
}
