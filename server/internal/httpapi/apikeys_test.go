package httpapi

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/identity"
)

func TestAPIKeyFromCreationToDeletion(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, w *world) {
		rs, role := w.invoices()
		agent := w.account("agent", role)
		path := "/v1/service-accounts/" + agent.id + "/api-keys"
		subset := []any{map[string]any{"resource_server": rs, "permission": "invoices:read"}}

		made := w.apiKey(agent.id, `{"name":"nightly run","permissions":[{"resource_server":"`+rs+`","permission":"invoices:read"}],
			"allowed_networks":["192.0.2.0/24","0.0.0.0/0"],"expires_at":"2027-06-01T00:00:00Z"}`)
		id, key := made.str("id"), made.str("api_key")
		if !regexp.MustCompile("^"+identity.APIKeyPattern+"$").MatchString(key) || made.str("hint") != key[len(key)-4:] ||
			made.Header.Get("Location") != path+"/"+id || made.Header.Get("ETag") != `"1"` || made.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %v", made.text, made.Header)
		}
		got := w.as(http.MethodGet, path+"/"+id, "").is(t, 200)
		if got.member("api_key") != nil || got.Header.Get("ETag") != `"1"` || got.str("name") != "nightly run" || got.str("expires_at") != "2027-06-01T00:00:00Z" {
			t.Errorf("%s", got.text)
		}
		if diff := cmp.Diff(subset, got.member("permissions")); diff != "" {
			t.Error(diff)
		}

		// A patch takes If-Match, tells absent from null and null from a list.
		w.as(http.MethodPatch, path+"/"+id, `{"name":"x"}`, "If-Match", `"7"`).is(t, 412)
		patched := w.as(http.MethodPatch, path+"/"+id, `{"name":"daily run","allowed_networks":null,"expires_at":null}`, "If-Match", `"1"`).is(t, 200)
		if patched.Header.Get("ETag") != `"2"` || patched.str("name") != "daily run" || patched.member("allowed_networks") != nil ||
			patched.member("expires_at") != nil || patched.member("permissions") == nil {
			t.Errorf("%s", patched.text)
		}
		if a := w.as(http.MethodPatch, path+"/"+id, `{"permissions":[]}`).is(t, 200); cmp.Diff(a.member("permissions"), []any{}) != "" {
			t.Errorf("none at all: %s", a.text)
		}
		if a := w.as(http.MethodPatch, path+"/"+id, `{"permissions":null}`).is(t, 200); a.member("permissions") != nil {
			t.Errorf("all: %s", a.text)
		}

		rotated := w.as(http.MethodPost, path+"/"+id+"/rotate", `{"overlap":3600}`).is(t, 201)
		if rotated.str("name") != "daily run" || rotated.str("api_key") == key || rotated.member("expires_at") != nil {
			t.Errorf("%s", rotated.text)
		}
		old := w.as(http.MethodGet, path+"/"+id, "").is(t, 200)
		if old.str("replaced_by") != rotated.str("id") || old.str("expires_at") != w.clock.Now().Add(time.Hour).Format(time.RFC3339) {
			t.Errorf("%s", old.text)
		}
		if n := len(w.as(http.MethodGet, path, "").is(t, 200).member("items").([]any)); n != 2 {
			t.Errorf("%d keys", n)
		}
		w.as(http.MethodDelete, path+"/"+id, "", "If-Match", `"1"`).is(t, 412)
		w.as(http.MethodDelete, path+"/"+id, "").is(t, 204)
		w.as(http.MethodGet, path+"/"+id, "").is(t, 404)
	})
}

func TestAPIKeyBodiesAreRefusedMemberByMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rs, role := w.invoices()
	agent := w.account("agent", role)
	path := "/v1/service-accounts/" + agent.id + "/api-keys"
	for body, pointer := range map[string]string{
		`{}`:                  "/name",
		`{"name":""}`:         "/name",
		`{"name":"a\u0000b"}`: "/name",
		`{"name":"` + strings.Repeat("x", 201) + `"}`: "/name",
		`{"name":"x","colour":1}`:                     "/colour",
		`{"name":"x","permissions":[{"resource_server":"` + rs + `","permission":"invoices:burn"}]}`:        "/permissions/0/permission",
		`{"name":"x","permissions":[{"resource_server":"rs_01jzt3v0q8n4m6x2c9k7b5h1d0","permission":"a"}]}`: "/permissions/0/resource_server",
		`{"name":"x","permissions":[{"resource_server":"` + rs + `","permission":"a","x":1}]}`:              "/permissions/0/x",
		`{"name":"x","permissions":null}`:                  "/permissions",
		`{"name":"x","allowed_networks":["192.0.2.1/24"]}`: "/allowed_networks/0",
		`{"name":"x","expires_at":"2020-01-01T00:00:00Z"}`: "/expires_at",
	} {
		a := w.as(http.MethodPost, path, body).is(t, 400)
		if a.str("code") != "invalid_request" || !strings.Contains(a.text, `"pointer":"`+pointer+`"`) {
			t.Errorf("%s: %s", body, a.text)
		}
	}
	id := w.apiKey(agent.id, `{"name":"x"}`).str("id")
	for body, pointer := range map[string]string{
		`{"name":null}`:                         "/name",
		`{"expires_at":"2020-01-01T00:00:00Z"}`: "/expires_at",
		`{"hint":"x"}`:                          "/hint",
		`{"permissions":[{"resource_server":"` + rs + `","permission":"invoices:burn"}]}`: "/permissions/0/permission",
	} {
		a := w.as(http.MethodPatch, path+"/"+id, body).is(t, 400)
		if !strings.Contains(a.text, `"pointer":"`+pointer+`"`) {
			t.Errorf("%s: %s", body, a.text)
		}
	}
	for _, body := range []string{`{"overlap":-1}`, `{"overlap":2592001}`, `{"overlap":"1"}`} {
		if a := w.as(http.MethodPost, path+"/"+id+"/rotate", body).is(t, 400); !strings.Contains(a.text, `"pointer":"/overlap"`) {
			t.Errorf("%s: %s", body, a.text)
		}
	}
	for body, pointer := range map[string]string{
		`{"allowed_credentials":[]}`:                    "/allowed_credentials",
		`{"allowed_credentials":["password"]}`:          "/allowed_credentials/0",
		`{"allowed_credentials":["api_key","api_key"]}`: "/allowed_credentials/1",
		`{"allowed_credentials":["API key"]}`:           "/allowed_credentials/0",
	} {
		if a := w.as(http.MethodPatch, "/v1/service-accounts/"+agent.id, body).is(t, 400); !strings.Contains(a.text, `"pointer":"`+pointer+`"`) {
			t.Errorf("%s: %s", body, a.text)
		}
	}
}

func TestLogin(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, w *world) {
		rs, role := w.invoices()
		agent := w.account("agent", role)
		key := w.apiKey(agent.id, `{"name":"k"}`).str("api_key")
		const api = "https://invoices.example.com"

		good := w.login(key, "resource", api).is(t, 200)
		if good.str("scope") != "invoices:read" || good.str("token_type") != "Bearer" ||
			good.Header.Get("Cache-Control") != "no-store" || good.Header.Get("Pragma") != "no-cache" {
			t.Errorf("%s %v", good.text, good.Header)
		}
		found := w.post("/oauth2/introspect", "Authorization:", "Bearer "+w.adminToken, "token", good.str("access_token")).is(t, 200)
		if found.member("active") != true || !strings.HasPrefix(found.str("cred"), "key_") || found.str("client_id") != agent.id {
			t.Errorf("%s", found.text)
		}
		typo := []byte(key)
		typo[10] = 'x' ^ typo[10]&1
		if string(typo) == key {
			typo[10] = 'Z'
		}
		for name, c := range map[string]struct {
			answer answer
			status int
			code   string
		}{
			"typo":                {w.login(string(typo), "resource", api), 400, "malformed_api_key"},
			"cut off":             {w.login(key[:len(key)-1], "resource", api), 400, "malformed_api_key"},
			"a client secret":     {w.login(agent.secret, "resource", api), 400, "malformed_api_key"},
			"a token":             {w.login("eyJhbGciOiJFUzI1NiJ9.e30.c2ln", "resource", api), 400, "malformed_api_key"},
			"nothing":             {w.login("", "resource", api), 400, "malformed_api_key"},
			"wrong":               {w.login(identity.GenerateAPIKey().Reveal(), "resource", api), 401, "invalid_api_key"},
			"no resource":         {w.login(key), 400, "invalid_target"},
			"no such resource":    {w.login(key, "resource", "https://nowhere.example"), 400, "invalid_target"},
			"too much":            {w.login(key, "resource", api, "scope", "invoices:write"), 400, "invalid_scope"},
			"another form":        {w.post("/v1/login", "api_key", key), 415, "unsupported_media_type"},
			"an unknown member":   {w.login(key, "grant_type", "client_credentials"), 400, "invalid_request"},
			"in the query":        {w.send("", http.MethodPost, "/v1/login?api_key="+key, `{"api_key":"`+key+`"}`), 400, "invalid_request"},
			"twice":               {w.send("", http.MethodPost, "/v1/login", `{"api_key":"`+key+`","api_key":"`+key+`"}`), 400, "invalid_request"},
			"in other letters":    {w.send("", http.MethodPost, "/v1/login", `{"API_KEY":"`+key+`"}`), 400, "invalid_request"},
			"no body":             {w.send("", http.MethodPost, "/v1/login", ``), 400, "invalid_request"},
			"control characters":  {w.send("", http.MethodPost, "/v1/login", `{"api_key":"a\u0000"}`), 400, "invalid_request"},
			"longer than any key": {w.login(strings.Repeat("x", 257)), 400, "invalid_request"},
		} {
			if a := c.answer.is(t, c.status); a.str("code") != c.code || strings.Contains(a.text, key) {
				t.Errorf("%s: %s, want %s", name, a.text, c.code)
			}
		}

		// A key of its own permissions gives no more than these, and no role that means more.
		w.as(http.MethodPatch, "/v1/roles/"+role, `{"permissions":[{"resource_server":"`+rs+`","permission":"invoices:read"},{"resource_server":"`+rs+`","permission":"invoices:write"}]}`).is(t, 200)
		narrow := w.apiKey(agent.id, `{"name":"n","permissions":[{"resource_server":"`+rs+`","permission":"invoices:read"}]}`).str("api_key")
		a := w.login(narrow, "resource", api).is(t, 200)
		if a.str("scope") != "invoices:read" {
			t.Error(a.text)
		}
		found = w.post("/oauth2/introspect", "Authorization:", "Bearer "+w.adminToken, "token", a.str("access_token")).is(t, 200)
		if roles, _ := found.member("roles").([]any); len(roles) != 0 {
			t.Errorf("a narrow key has the roles %v", roles)
		}
		if a := w.login(narrow, "resource", api, "scope", "invoices:read invoices:write").is(t, 400); a.str("code") != "invalid_scope" {
			t.Error(a.text)
		}
		if a := w.login(key, "resource", api).is(t, 200); a.str("scope") != "invoices:read invoices:write" {
			t.Error(a.text)
		}
	})
}

// Whatever keeps a key from letting anybody in, the answer is the same.
func TestAKeyThatLetsNobodyInHasOneFace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	face := func(a answer) string {
		t.Helper()
		a.is(t, 401)
		return strings.ReplaceAll(a.text, a.str("request_id"), "") + a.Header.Get("WWW-Authenticate")
	}
	want := face(w.login(identity.GenerateAPIKey().Reveal()))
	for name, stop := range map[string]func(account, key string){
		"deleted": func(a, k string) { w.as(http.MethodDelete, "/v1/service-accounts/"+a+"/api-keys/"+k, "").is(t, 204) },
		"outside": func(a, k string) {
			w.as(http.MethodPatch, "/v1/service-accounts/"+a+"/api-keys/"+k, `{"allowed_networks":["198.51.100.0/24"]}`).is(t, 200)
		},
		"account away": func(a, _ string) { w.as(http.MethodDelete, "/v1/service-accounts/"+a, "").is(t, 204) },
		"disabled":     func(a, _ string) { w.as(http.MethodPost, "/v1/service-accounts/"+a+"/disable", "").is(t, 200) },
		"kind": func(a, _ string) {
			w.as(http.MethodPatch, "/v1/service-accounts/"+a, `{"allowed_credentials":["client_secret"]}`).is(t, 200)
		},
		"networks": func(a, _ string) {
			w.as(http.MethodPatch, "/v1/service-accounts/"+a, `{"allowed_networks":["198.51.100.0/24"]}`).is(t, 200)
		},
		"ended": func(a, k string) {
			w.as(http.MethodPost, "/v1/service-accounts/"+a+"/api-keys/"+k+"/rotate", `{"overlap":0}`).is(t, 201)
		},
	} {
		agent := w.account("agent-" + strings.ReplaceAll(name, " ", "-"))
		key := w.apiKey(agent.id, `{"name":"k"}`)
		stop(agent.id, key.str("id"))
		if got := face(w.login(key.str("api_key"))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestCreatingACredentialOfAKindThatIsNotAllowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := "/v1/service-accounts/"
	id := w.as(http.MethodPost, "/v1/service-accounts", `{"name":"only-keys","owner":"o","allowed_credentials":["api_key"]}`).is(t, 201).str("id")
	for _, verb := range []string{"", "/rotate"} {
		if a := w.as(http.MethodPost, path+id+"/client-secrets"+verb, "").is(t, 409); a.str("code") != "credential_kind_not_allowed" {
			t.Error(a.text)
		}
	}
	w.apiKey(id, `{"name":"k"}`)
	w.as(http.MethodPatch, path+id, `{"allowed_credentials":["client_secret"]}`).is(t, 200)
	if a := w.as(http.MethodPost, path+id+"/api-keys", `{"name":"k"}`).is(t, 409); a.str("code") != "credential_kind_not_allowed" {
		t.Error(a.text)
	}
	if a := w.as(http.MethodPatch, path+id, `{"allowed_credentials":null}`).is(t, 200); a.member("allowed_credentials") != nil {
		t.Error(a.text)
	}
	w.as(http.MethodPost, path+id+"/client-secrets", "").is(t, 201)
}
