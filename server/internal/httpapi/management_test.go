package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/identity"
)

func TestAbsentNullAndUnknownMembersOfAPatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.as(http.MethodPost, "/v1/service-accounts",
		`{"name":"one","owner":"o","display_name":"d","token_lifetime":60,"token_rate_limit":120,"labels":{"a":"1","b":"2"}}`).is(t, 201).str("id")
	path := "/v1/service-accounts/" + id
	steps := []struct {
		name, body string
		status     int
		want       map[string]any // of these members; nil: absent
	}{
		{"null where it is not allowed", `{"owner":null}`, 400, map[string]any{"owner": "o"}},
		{"unknown member", `{"colour":"red"}`, 400, nil},
		{"case-folded member", `{"Owner":"p"}`, 400, map[string]any{"owner": "o"}},
		{"case-folded twin", `{"owner":"p","OWNER":"q"}`, 400, map[string]any{"owner": "o"}},
		{"a member that does not change", `{"id":"sa_01jzt3v0q8n4m6x2c9k7b5h1d0"}`, 400, nil},
		{"nothing", `{}`, 200, map[string]any{"owner": "o", "display_name": "d", "token_lifetime": 60.0, "token_rate_limit": 120.0}},
		{"one member", `{"owner":"p"}`, 200, map[string]any{"owner": "p", "display_name": "d"}},
		{"null in labels removes a key", `{"labels":{"a":null,"c":"3"}}`, 200, map[string]any{"labels": map[string]any{"b": "2", "c": "3"}}},
		{"null clears", `{"token_lifetime":null,"display_name":null}`, 200, map[string]any{"token_lifetime": nil, "display_name": ""}},
		{"a rate", `{"token_rate_limit":90}`, 200, map[string]any{"token_rate_limit": 90.0}},
		{"a rate of nothing", `{"token_rate_limit":0}`, 400, map[string]any{"token_rate_limit": 90.0}},
		{"a rate beyond reason", `{"token_rate_limit":60000001}`, 400, map[string]any{"token_rate_limit": 90.0}},
		{"null gives back the common rate", `{"token_rate_limit":null}`, 200, map[string]any{"token_rate_limit": nil}},
		{"null clears all labels", `{"labels":null}`, 200, map[string]any{"labels": map[string]any{}}},
	}
	for _, s := range steps {
		w.as(http.MethodPatch, path, s.body).is(t, s.status)
		got := w.as(http.MethodGet, path, "").is(t, http.StatusOK)
		for name, want := range s.want {
			if diff := cmp.Diff(want, got.member(name)); diff != "" {
				t.Errorf("after %s: %s: %s", s.name, name, diff)
			}
		}
	}
}

func TestIfMatchGuardsAgainstLostUpdates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rs, role := w.invoices()
	created := w.as(http.MethodPost, "/v1/service-accounts", `{"name":"one","owner":"o"}`).is(t, 201)
	for path, patch := range map[string]string{
		created.Header.Get("Location"): `{"description":"%d"}`,
		"/v1/resource-servers/" + rs:   `{"token_lifetime_max":%d}`,
		"/v1/roles/" + role:            `{"description":"%d"}`,
	} {
		first := w.as(http.MethodGet, path, "").is(t, 200).Header.Get("ETag")
		second := w.as(http.MethodPatch, path, fmt.Sprintf(patch, 61), "If-Match", first).is(t, 200).Header.Get("ETag")
		if second == first || w.as(http.MethodGet, path, "").Header.Get("ETag") != second {
			t.Errorf("%s: ETag %s, then %s", path, first, second)
		}
		for _, stale := range []string{first, "W/" + second, `"x"`} {
			if a := w.as(http.MethodPatch, path, fmt.Sprintf(patch, 62), "If-Match", stale).is(t, 412); a.str("code") != "precondition_failed" {
				t.Errorf("%s: %s", path, a.text)
			}
			w.as(http.MethodDelete, path, "", "If-Match", stale).is(t, 412)
		}
		for _, bad := range []string{"1", second + `, "9"`, `"`, strings.Repeat("x", 100)} {
			w.as(http.MethodPatch, path, fmt.Sprintf(patch, 62), "If-Match", bad).is(t, 400)
		}
		w.as(http.MethodPatch, path, fmt.Sprintf(patch, 62), "If-Match", second, "If-Match", second).is(t, 400)
		w.as(http.MethodPatch, path, fmt.Sprintf(patch, 63), "If-Match", "*").is(t, 200)
	}
}

func TestCreationTellsWhereTheThingIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, body := range map[string]string{
		"/v1/service-accounts": `{"name":"one","owner":"o"}`,
		"/v1/resource-servers": `{"identifier":"https://one.example.com","name":"one"}`,
		"/v1/roles":            `{"name":"one"}`,
	} {
		created := w.as(http.MethodPost, path, body).is(t, http.StatusCreated)
		read := w.as(http.MethodGet, created.Header.Get("Location"), "").is(t, http.StatusOK)
		if created.text != read.text || created.Header.Get("ETag") != read.Header.Get("ETag") || read.Header.Get("ETag") == "" {
			t.Errorf("%s:\n%s\n%s", path, created.text, read.text)
		}
		if a := w.as(http.MethodPost, path, body).is(t, http.StatusConflict); a.str("code") != "name_taken" {
			t.Errorf("%s again: %s", path, a.text)
		}
	}
}

func TestASecretIsShownOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.as(http.MethodPost, "/v1/service-accounts", `{"name":"one","owner":"o"}`).is(t, 201).str("id")
	path := "/v1/service-accounts/" + id + "/client-secrets"
	created := w.as(http.MethodPost, path, "").is(t, 201)
	text := created.str("client_secret")
	if identity.CheckClientSecret(text) != nil || created.str("hint") != text[len(text)-4:] || created.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v %s", created.Header, created.text)
	}
	rotated := w.as(http.MethodPost, path+"/rotate", `{"overlap":0}`).is(t, 201)
	for _, a := range []answer{w.as(http.MethodGet, path, ""), w.as(http.MethodGet, created.Header.Get("Location"), "")} {
		if a.is(t, 200); strings.Contains(a.text, text) || strings.Contains(a.text, rotated.str("client_secret")) {
			t.Errorf("a secret can be read again: %s", a.text)
		}
	}
}

func TestListsPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 5 {
		w.as(http.MethodPost, "/v1/service-accounts", fmt.Sprintf(`{"name":"page-%d","owner":"o","labels":{"n":"%d"}}`, i, i%2)).is(t, 201)
		w.clock.Advance(time.Millisecond)
	}
	var names []string
	next := "/v1/service-accounts?name_prefix=page-&page_size=2"
	for pages := 0; next != ""; pages++ {
		a := w.as(http.MethodGet, next, "").is(t, 200)
		var list struct {
			Items         []struct{ Name string }
			NextPageToken string `json:"next_page_token"`
		}
		must(t, json.Unmarshal([]byte(a.text), &list))
		for _, item := range list.Items {
			names = append(names, item.Name)
		}
		next = ""
		if list.NextPageToken != "" {
			next = "/v1/service-accounts?name_prefix=page-&page_size=2&page_token=" + list.NextPageToken
			for _, other := range []string{"/v1/roles?page_token=", "/v1/service-accounts?name_prefix=pag&page_token="} {
				if a := w.as(http.MethodGet, other+list.NextPageToken, "").is(t, 400); a.str("code") != "invalid_page_token" {
					t.Errorf("a token of another list: %s", a.text)
				}
			}
		}
		if pages > 3 {
			t.Fatal("the list does not end")
		}
	}
	if diff := cmp.Diff([]string{"page-0", "page-1", "page-2", "page-3", "page-4"}, names); diff != "" {
		t.Error(diff)
	}
	a := w.as(http.MethodGet, "/v1/service-accounts?label=n%3D1&name_prefix=page-", "").is(t, 200)
	if got := strings.Count(a.text, `"name":"page-`); got != 2 {
		t.Errorf("filtered by label: %s", a.text)
	}
}

func TestParametersAreHeldAgainstTheContract(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cases := []struct{ target, pointer, code string }{
		{"/v1/service-accounts?page_size=0", "?page_size", "invalid_request"},
		{"/v1/service-accounts?page_size=201", "?page_size", "invalid_request"},
		{"/v1/service-accounts?page_size=x", "?page_size", "invalid_request"},
		{"/v1/service-accounts?page_size=1e1", "?page_size", "invalid_request"},
		{"/v1/service-accounts?page_size=99999999999999999999", "?page_size", "invalid_request"},
		{"/v1/service-accounts?page_size=", "?page_size", "invalid_request"},
		{"/v1/service-accounts?page_size=1&page_size=2", "?page_size", "invalid_request"},
		{"/v1/service-accounts?status=sleeping", "?status", "invalid_request"},
		{"/v1/service-accounts?unused_since=yesterday", "?unused_since", "invalid_request"},
		{"/v1/service-accounts?unused_since=2026-02-30T00:00:00Z", "?unused_since", "invalid_request"},
		{"/v1/service-accounts?owner=" + url.QueryEscape("a\x00b"), "?owner", "invalid_request"},
		{"/v1/service-accounts?owner=%FF", "?owner", "invalid_request"},
		{"/v1/service-accounts?label=x", "?label", "invalid_request"},
		{"/v1/service-accounts?label=a%3Db&label=a%3Dc", "?label", "invalid_request"},
		{"/v1/service-accounts?onwer=o", "?onwer", "invalid_request"},
		{"/v1/service-accounts?Owner=o", "?Owner", "invalid_request"},
		{"/v1/service-accounts?%00=o", "?", "invalid_request"},
		{"/v1/service-accounts?owner=%zz", "", "invalid_request"},
		{"/v1/service-accounts?page_token=!", "", "invalid_page_token"},
		{"/v1/service-accounts?page_token=AAAA", "", "invalid_page_token"},
		{"/v1/service-accounts?page_token=", "", "invalid_page_token"},
		{"/v1/service-accounts/nobody", "{service_account_id}", "invalid_request"},
		{"/v1/service-accounts/role_01jzt3v0q8n4m6x2c9k7b5h1d0", "{service_account_id}", "invalid_request"},
		{"/v1/service-accounts/sa_81jzt3v0q8n4m6x2c9k7b5h1d0", "{service_account_id}", "invalid_request"},
		{"/v1/service-accounts/SA_01jzt3v0q8n4m6x2c9k7b5h1d0", "{service_account_id}", "invalid_request"},
		{"/v1/audit-events?type=token.dreamt", "?type", "invalid_request"},
		{"/v1/audit-events?actor=me", "?actor", "invalid_request"},
	}
	for _, c := range cases {
		a := w.as(http.MethodGet, c.target, "")
		if a.StatusCode != http.StatusBadRequest || a.str("code") != c.code || !strings.Contains(a.text, `"pointer":"`+c.pointer+`"`) && c.pointer != "" {
			t.Errorf("%s: %d %s", c.target, a.StatusCode, a.text)
		}
	}
	if a := w.as(http.MethodGet, "/v1/service-accounts/sa_01jzt3v0q8n4m6x2c9k7b5h1d0", "").is(t, 404); a.str("code") != "not_found" {
		t.Error(a.text)
	}
}

func TestContentTypesOfManagementBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, role := w.invoices()
	for _, c := range []struct{ method, path, contentType string }{
		{http.MethodPost, "/v1/roles", "application/x-www-form-urlencoded"},
		{http.MethodPost, "/v1/roles", "text/json"},
		{http.MethodPatch, "/v1/roles/" + role, "application/json"},
	} {
		resp, body := ask(t, w.app, c.method, c.path, `{"name":"x"}`, "Content-Type", c.contentType, "Authorization", "Bearer "+w.adminToken)
		if resp.StatusCode != http.StatusUnsupportedMediaType || !strings.Contains(body, `"code":"unsupported_media_type"`) {
			t.Errorf("%s %s as %s: %d %s", c.method, c.path, c.contentType, resp.StatusCode, body)
		}
	}
}

func TestTheRecordCanBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account("one")
	a := w.as(http.MethodGet, "/v1/audit-events?service_account="+c.id+"&order=newest&page_size=1", "").is(t, 200)
	var list struct {
		Items []struct {
			Type, Actor, Chain, Hash string
			Seq                      int64
			ServiceAccount           string `json:"service_account"`
			RequestID                string `json:"request_id"`
		}
	}
	must(t, json.Unmarshal([]byte(a.text), &list))
	if len(list.Items) != 1 || list.Items[0].Type != "client_secret.created" || list.Items[0].Actor != w.admin.id ||
		list.Items[0].Seq == 0 || len(list.Items[0].Hash) != 64 || !anyRequestID.MatchString(list.Items[0].RequestID) {
		t.Error(a.text)
	}
}

func TestWhoami(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	narrow := w.token(w.admin, "resource", identity.ManagementIdentifier, "scope", identity.PermAuditRead)
	a := w.send(narrow, http.MethodGet, "/v1/whoami", "").is(t, 200)
	if diff := cmp.Diff([]any{identity.PermAuditRead}, a.member("permissions")); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(a.text, w.admin.id) || !strings.Contains(a.text, `"roles":["admin"]`) {
		t.Error(a.text)
	}
}

// Golden bodies of what handlers and the validator refuse.
func TestRefusalsOfTheManagementAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, a := range map[string]answer{
		"400-fields":    w.as(http.MethodPost, "/v1/service-accounts", `{"name":"A","colour":"red"}`),
		"400-json":      w.as(http.MethodPost, "/v1/service-accounts", `{"name":`),
		"400-parameter": w.as(http.MethodGet, "/v1/service-accounts?page_size=x", ""),
		"401":           w.send("", http.MethodGet, "/v1/roles", ""),
		"401-token":     w.send("x", http.MethodGet, "/v1/roles", ""),
		"403":           w.as(http.MethodDelete, "/v1/roles/"+identity.RoleAdminID, ""),
		"404-account":   w.as(http.MethodGet, "/v1/service-accounts/sa_01jzt3v0q8n4m6x2c9k7b5h1d0", ""),
		"415":           w.as(http.MethodPost, "/v1/roles", "", "Content-Type", "text/plain", "Content-Encoding", "br"),
	} {
		a.Status = fmt.Sprintf("%d %s", a.StatusCode, http.StatusText(a.StatusCode))
		golden(t, name, a.Response, a.text)
	}
}
