package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsInUseIsToldAndGoesWhenAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rs, role := w.invoices()
	agent := w.account("agent", role)
	w.as(http.MethodPatch, "/v1/service-accounts/"+agent.id, `{"default_resource_server":"`+rs+`"}`).is(t, 200)
	user := func(kind, id, name string) map[string]any {
		return map[string]any{"kind": kind, "id": id, "name": name}
	}
	for path, want := range map[string]map[string]any{
		"/v1/roles/" + role:          {"count": 1.0, "items": []any{user("service_account", agent.id, "agent")}},
		"/v1/resource-servers/" + rs: {"count": 2.0, "items": []any{user("role", role, "clerk"), user("service_account", agent.id, "agent")}},
	} {
		for _, query := range []string{"", "?cascade=false"} {
			a := w.as(http.MethodDelete, path+query, "").is(t, http.StatusConflict)
			if diff := cmp.Diff(any(want), a.member("in_use")); diff != "" || a.str("code") != "in_use" || !strings.Contains(a.str("detail"), agent.id) {
				t.Errorf("%s%s: %s %s", path, query, a.text, diff)
			}
		}
		for _, query := range []string{"?cascade=yes", "?cascade=", "?cascade=1", "?cascade=TRUE", "?cascade=true&cascade=true", "?Cascade=true"} {
			w.as(http.MethodDelete, path+query, "").is(t, http.StatusBadRequest)
		}
		if a := w.as(http.MethodDelete, path+"?cascade=true", "", "If-Match", `"99"`).is(t, 412); a.member("in_use") != nil {
			t.Error(a.text)
		}
	}
	token := w.token(agent)
	introspect := func() string {
		return w.post("/oauth2/introspect", "Authorization:", "Bearer "+w.adminToken, "token", token).is(t, 200).text
	}
	w.as(http.MethodDelete, "/v1/roles/"+role+"?cascade=true", "").is(t, http.StatusNoContent)
	if text := introspect(); !strings.Contains(text, `"active":true`) || !strings.Contains(text, `"scope":"invoices:read"`) {
		t.Errorf("a token that was issued for a role that is gone: %s", text)
	}
	if a := w.post("/oauth2/token", "grant_type", "client_credentials", "client_id", agent.id, "client_secret", agent.secret).is(t, 400); a.str("error") != "invalid_target" {
		t.Errorf("a further token: %s", a.text)
	}
	w.as(http.MethodDelete, "/v1/resource-servers/"+rs+"?cascade=true", "").is(t, http.StatusNoContent)
	if text := introspect(); text != `{"active":false}` {
		t.Errorf("a token of a resource server that is gone: %s", text)
	}
	if a := w.as(http.MethodGet, "/v1/service-accounts/"+agent.id, "").is(t, 200); a.member("default_resource_server") != nil {
		t.Error(a.text)
	}
}

func TestPermissionsAreChangedByTheirResourceServersETag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rs, role := w.invoices()
	agent := w.account("agent", role)
	path := "/v1/resource-servers/" + rs
	first := w.as(http.MethodGet, path, "").is(t, 200).Header.Get("ETag")
	const body = `{"rename":[{"from":"invoices:read","to":"invoices:view"}],"remove":["invoices:write"]`
	dry := w.as(http.MethodPost, path+"/permission-changes", body+`,"dry_run":true}`, "If-Match", first).is(t, 200)
	if dry.Header.Get("ETag") != first || dry.member("applied") != false {
		t.Errorf("%v %s", dry.Header, dry.text)
	}
	w.as(http.MethodPost, path+"/permission-changes", body+`}`, "If-Match", `"99"`).is(t, 412)
	done := w.as(http.MethodPost, path+"/permission-changes", body+`}`, "If-Match", first).is(t, 200)
	if now := w.as(http.MethodGet, path, "").Header.Get("ETag"); now == first || done.Header.Get("ETag") != now || done.member("applied") != true {
		t.Errorf("%v %s", done.Header, done.text)
	}
	for _, member := range []string{"roles", "losses"} {
		if diff := cmp.Diff(dry.member(member), done.member(member)); diff != "" {
			t.Errorf("%s: %s", member, diff)
		}
	}
	if got := w.post("/oauth2/token", "grant_type", "client_credentials", "client_id", agent.id, "client_secret", agent.secret,
		"resource", "https://invoices.example.com").is(t, 200).str("scope"); got != "invoices:view" {
		t.Errorf("the scope of a new token is %q", got)
	}
	again := w.as(http.MethodPost, path+"/permission-changes", body+`}`).is(t, 400)
	for _, pointer := range []string{"/rename/0/from", "/rename/0/to", "/remove/0"} {
		if !strings.Contains(again.text, `"`+pointer+`"`) {
			t.Errorf("a second call: %s", again.text)
		}
	}
	for _, bad := range []string{`{}`, `{"dry_run":true}`, `{"rename":[{"from":"a"}]}`, `{"remove":["a b"]}`, `{"remove":null}`, `{"dry_run":"yes","remove":["invoices:view"]}`} {
		w.as(http.MethodPost, path+"/permission-changes", bad).is(t, 400)
	}
}
