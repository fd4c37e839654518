package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

func TestAnAssignmentHasAVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, role := w.invoices()
	account := "/v1/service-accounts/" + w.account("clerk").id
	path := account + "/roles/" + role
	const later, latest = `{"expires_at":"2046-01-01T00:00:00Z"}`, `{"expires_at":"2047-01-01T00:00:00Z"}`
	tag := func(a answer) string { t.Helper(); return a.is(t, 200).Header.Get("ETag") }
	stale := func(method, body, tag string) {
		t.Helper()
		if a := w.as(method, path, body, "If-Match", tag).is(t, 412); a.str("code") != "precondition_failed" {
			t.Error(a.text)
		}
	}

	w.as(http.MethodGet, path, "").is(t, 404)
	stale(http.MethodPut, "", "*")
	stale(http.MethodPut, "", `"1"`)
	w.as(http.MethodGet, path, "").is(t, 404)

	first := w.as(http.MethodPut, path, "")
	got := w.as(http.MethodGet, path, "")
	if tag(first) == "" || tag(got) != tag(first) || got.text != first.text {
		t.Errorf("put %s %s, got %s %s", tag(first), first.text, tag(got), got.text)
	}
	if again := w.as(http.MethodPut, path, "{}", "If-Match", tag(first)); tag(again) != tag(first) {
		t.Error("giving what is there already is another version")
	}
	second := w.as(http.MethodPut, path, later, "If-Match", tag(first))
	if tag(second) == tag(first) || tag(w.as(http.MethodGet, path, "")) != tag(second) {
		t.Error("another end is no other version")
	}
	stale(http.MethodPut, latest, tag(first))
	stale(http.MethodPut, latest, "W/"+tag(second))
	stale(http.MethodDelete, "", tag(first))
	if read := w.as(http.MethodGet, path, ""); read.text != second.text {
		t.Errorf("what was refused has changed something: %s", read.text)
	}
	third := w.as(http.MethodPut, path, latest, "If-Match", "*")
	if tag(third) == tag(second) {
		t.Error("another end is no other version")
	}
	w.as(http.MethodPatch, "/v1/roles/"+role, `{"name":"renamed"}`).is(t, 200)
	renamed := w.as(http.MethodGet, path, "")
	if tag(renamed) == tag(third) || renamed.str("role_name") != "renamed" {
		t.Errorf("the answer is another and its tag is not: %s", renamed.text)
	}
	w.as(http.MethodDelete, path, "", "If-Match", tag(renamed)).is(t, 204)
	stale(http.MethodPut, latest, tag(renamed))
	w.as(http.MethodDelete, path, "", "If-Match", "*").is(t, 404)

	w.clock.Advance(time.Microsecond)
	if anew := w.as(http.MethodPut, path, latest); tag(anew) == tag(renamed) {
		t.Error("an assignment that was made anew has the version of the old one")
	}
	w.as(http.MethodGet, account+"/roles/"+identity.RoleAdminID, "").is(t, 404)
	w.as(http.MethodGet, "/v1/service-accounts/sa_01jzt3v0q8n4m6x2c9k7b5h1d0/roles/"+role, "").is(t, 404)
	w.as(http.MethodGet, account+"/roles/nobody", "").is(t, 400)
	for _, bad := range []string{"1", `"`, tag(second) + `, "9"`} {
		w.as(http.MethodPut, path, latest, "If-Match", bad).is(t, 400)
		w.as(http.MethodDelete, path, "", "If-Match", bad).is(t, 400)
	}
}
