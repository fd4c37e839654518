package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/operation"
)

// Every operation of the contract is called without sign-in, with a token for
// another audience, without the permission, and by the administrator. What no
// case knows how to call is listed, and the list must be empty.
func TestEveryOperationIsGuarded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, clerk := w.invoices()
	other := w.token(w.account("other-audience", clerk), "resource", "https://invoices.example.com")
	narrow := map[string]string{
		identity.PermAuditRead: w.token(w.admin, "resource", identity.ManagementIdentifier, "scope", identity.PermAuditRead),
		identity.PermRolesRead: w.token(w.admin, "resource", identity.ManagementIdentifier, "scope", identity.PermRolesRead),
	}
	table := tableByID()

	var uncovered []string
	eachOperation(t, func(method, path string, op *openapi3.Operation) {
		call := sample(t, method, path, op)
		row, ok := table[op.OperationID]
		switch {
		case !ok:
			uncovered = append(uncovered, op.OperationID)
		case row.SignIn == operation.None:
			call(w, "").is(t, http.StatusOK)
		case row.SignIn == operation.Bearer:
			lacking := narrow[identity.PermAuditRead]
			if row.Permission == identity.PermAuditRead {
				lacking = narrow[identity.PermRolesRead]
			}
			guardedByBearer(t, w, call, row, other, lacking)
		case row.SignIn == operation.Client || row.SignIn == operation.ClientOrBearer:
			guardedByClient(t, w, call, row, other)
		case row.SignIn == operation.APIKey:
			guardedByAPIKey(t, w, call, row, w.adminToken)
		default:
			uncovered = append(uncovered, op.OperationID)
		}
	})
	if len(uncovered) > 0 {
		slices.Sort(uncovered)
		t.Errorf("uncovered: %v", uncovered)
	}
}

func guardedByBearer(t *testing.T, w *world, call caller, row operation.Operation, other, lacking string) {
	t.Helper()
	if a := call(w, "").is(t, http.StatusUnauthorized); a.str("code") != "unauthenticated" ||
		a.Header.Get("WWW-Authenticate") != `Bearer realm="marque"` {
		t.Errorf("%s without a token: %s %q", row.ID, a.text, a.Header.Get("WWW-Authenticate"))
	}
	for _, bad := range []string{other, "garbage"} {
		if a := call(w, bad).is(t, http.StatusUnauthorized); a.str("code") != "invalid_token" ||
			!strings.HasPrefix(a.Header.Get("WWW-Authenticate"), `Bearer realm="marque", error="invalid_token"`) {
			t.Errorf("%s with a bad token: %s %q", row.ID, a.text, a.Header.Get("WWW-Authenticate"))
		}
	}
	if row.Permission == "" {
		call(w, lacking).is(t, http.StatusOK)
		return
	}
	if a := call(w, lacking).is(t, http.StatusForbidden); a.str("code") != "insufficient_scope" || a.str("permission") != row.Permission ||
		!strings.Contains(a.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`) ||
		!strings.HasSuffix(a.Header.Get("WWW-Authenticate"), `scope="`+row.Permission+`"`) {
		t.Errorf("%s without the permission: %s %q", row.ID, a.text, a.Header.Get("WWW-Authenticate"))
	}
	switch a := call(w, w.adminToken); {
	case a.StatusCode == http.StatusUnauthorized, a.StatusCode == http.StatusForbidden, a.StatusCode >= 500:
		t.Errorf("%s by the administrator: %d %s", row.ID, a.StatusCode, a.text)
	}
}

func guardedByClient(t *testing.T, w *world, call caller, row operation.Operation, other string) {
	t.Helper()
	if a := call(w, "").is(t, http.StatusUnauthorized); a.str("error") != "invalid_client" {
		t.Errorf("%s without sign-in: %s", row.ID, a.text)
	}
	want := "invalid_token"
	if row.SignIn == operation.Client {
		want = "invalid_client"
	}
	if a := call(w, other).is(t, http.StatusUnauthorized); a.str("error") != want || a.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("%s with a token for another audience: %s", row.ID, a.text)
	}
}

// guardedByAPIKey tries an operation whose body holds the sign-in: its example
// has no key of ours, and no other sign-in stands in for one.
func guardedByAPIKey(t *testing.T, w *world, call caller, row operation.Operation, bearer string) {
	t.Helper()
	for _, other := range []string{"", "garbage", bearer} {
		if a := call(w, other).is(t, http.StatusBadRequest); a.str("code") != "malformed_api_key" {
			t.Errorf("%s without an API key: %s", row.ID, a.text)
		}
	}
	unknown := `{"api_key":"` + identity.GenerateAPIKey().Reveal() + `"}`
	a := w.send(bearer, http.MethodPost, "/v1/login", unknown).is(t, http.StatusUnauthorized)
	if a.str("code") != "invalid_api_key" || a.Header.Get("WWW-Authenticate") != `APIKey realm="marque"` {
		t.Errorf("%s with an unknown API key: %s %q", row.ID, a.text, a.Header.Get("WWW-Authenticate"))
	}
}

// caller makes one call of an operation with a bearer token, or with none.
type caller func(w *world, bearer string) answer

// sample calls an operation as its examples in the contract say. What it names
// does not exist, except where the contract's own ids do.
func sample(t *testing.T, method, path string, op *openapi3.Operation) caller {
	t.Helper()
	for prefix, parameter := range map[string]string{
		"sa": "service_account_id", "sec": "client_secret_id", "key": "api_key_id", "rs": "resource_server_id", "role": "role_id", "sig": "kid",
	} {
		path = strings.ReplaceAll(path, "{"+parameter+"}", prefix+"_01jzt3v0q8n4m6x2c9k7b5h1d0")
	}
	if op.Responses.Status(200) != nil && op.Responses.Status(200).Value.Content["text/event-stream"] != nil {
		// From a position that cannot be: the stream says so and ends.
		return func(w *world, bearer string) answer {
			return w.send(bearer, method, path, "", "Last-Event-ID", "999999999999999999")
		}
	}
	if op.RequestBody == nil {
		return func(w *world, bearer string) answer { return w.send(bearer, method, path, "") }
	}
	content := op.RequestBody.Value.Content
	if form := content[formType]; form != nil {
		var pairs []string
		for name, v := range form.Example.(map[string]any) {
			pairs = append(pairs, name, v.(string))
		}
		return func(w *world, bearer string) answer {
			if bearer == "" {
				return w.post(path, pairs...)
			}
			return w.post(path, append([]string{"Authorization:", "Bearer " + bearer}, pairs...)...)
		}
	}
	var example any
	for _, c := range content {
		example = c.Schema.Value.Example
	}
	body, err := json.Marshal(example)
	must(t, err)
	return func(w *world, bearer string) answer { return w.send(bearer, method, path, string(body)) }
}

// Sign-in comes before everything that could tell a stranger something.
func TestNothingIsSaidOfARequestBeforeSignIn(t *testing.T) {
	t.Parallel()
	app := edge(t, testIssuer)
	const id = "/v1/service-accounts/sa_01jzt3v0q8n4m6x2c9k7b5h1d0"
	for _, c := range []struct{ method, target, body, contentType string }{
		{http.MethodPost, "/v1/service-accounts", `{"name":`, "application/json"},
		{http.MethodPost, "/v1/service-accounts", `{"colour":1}`, "application/json"},
		{http.MethodPost, "/v1/service-accounts", `<a/>`, "application/xml"},
		{http.MethodPatch, id, `{}`, "application/json"},
		{http.MethodGet, "/v1/service-accounts?page_size=x", "", ""},
		{http.MethodGet, "/v1/service-accounts?unused_since=yesterday", "", ""},
		{http.MethodGet, "/v1/service-accounts?" + url.QueryEscape("%zz") + "=%zz", "", ""},
		{http.MethodGet, "/v1/service-accounts?page_token=x", "", ""},
		{http.MethodGet, "/v1/service-accounts/nobody", "", ""},
	} {
		header := []string{"Content-Type", c.contentType}
		resp, body := ask(t, app, c.method, c.target, c.body, header...)
		if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(body, `"code":"unauthenticated"`) {
			t.Errorf("%s %s %s: %d %s", c.method, c.target, c.body, resp.StatusCode, body)
		}
	}
}

func tableByID() map[string]operation.Operation {
	table := make(map[string]operation.Operation)
	for _, op := range operation.Table() {
		table[op.ID] = op
	}
	return table
}

// A row asks for the permission that the contract tells of: the walk above takes
// what it expects from the table itself.
func TestEveryOperationNeedsThePermissionOfTheContract(t *testing.T) {
	t.Parallel()
	needs := regexp.MustCompile("^Needs the permission `([a-z:-]+)`")
	rows := tableByID()
	eachOperation(t, func(method, _ string, op *openapi3.Operation) {
		documented := ""
		if m := needs.FindStringSubmatch(strings.TrimSpace(op.Description)); m != nil {
			documented = m[1]
		}
		if got := rows[op.OperationID].Permission; got != documented {
			t.Errorf("%s: the contract says %q, the table %q", op.OperationID, documented, got)
		}
	})
}
