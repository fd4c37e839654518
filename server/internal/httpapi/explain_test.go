package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestRulesOfTheContractAreThoseOfThePipeline(t *testing.T) {
	t.Parallel()
	var known []string
	for _, v := range spec(t).Components.Schemas["Rule"].Value.Extensions["x-known-values"].([]any) {
		known = append(known, v.(string))
	}
	var rules []string
	for _, r := range grant.Rules() {
		rules = append(rules, r.Name)
	}
	if diff := cmp.Diff(rules, known); diff != "" {
		t.Errorf("-pipeline +contract:\n%s", diff)
	}
}

// Whoever presents a credential, its own or a stolen one, learns nothing of why
// it is refused.
func TestRefusalsOfTheTokenEndpointAreByteIdentical(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, clerk := w.invoices()
	c := w.account("agent", clerk)
	const accounts = "/v1/service-accounts/"
	patch := func(body string) { w.as(http.MethodPatch, accounts+c.id, body).is(t, http.StatusOK) }
	try := func(id, secret string, header ...string) string {
		t.Helper()
		a := w.post("/oauth2/token", append([]string{"grant_type", "client_credentials", "client_id", id, "client_secret", secret,
			"resource", "https://invoices.example.com"}, header...)...).is(t, http.StatusUnauthorized)
		requestID := a.Header.Get("X-Request-Id")
		var b strings.Builder
		b.WriteString(a.Status + "\n")
		for _, name := range slices.Sorted(maps.Keys(a.Header)) {
			if name != "Date" {
				b.WriteString(name + ": " + strings.Join(a.Header[name], ", ") + "\n")
			}
		}
		return strings.ReplaceAll(b.String()+a.text, requestID, "<request id>")
	}
	almost, right := c.secret[:len(c.secret)-1], c.secret[len(c.secret)-1:]
	same := almost + "x" // as long as the right one
	if right == "x" {
		same = almost + "y"
	}
	want := try(c.id, same)
	if !strings.Contains(want, "invalid_client") {
		t.Fatal(want)
	}
	compare := func(what, got string) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is answered otherwise than a wrong secret:\n%s", what, diff)
		}
	}
	compare("an unknown client", try("sa_01jzt3v0q8n4m6x2c9k7b5h1d0", c.secret))

	other := w.account("other", clerk)
	compare("the secret of another account", try(c.id, other.secret))

	patch(`{"allowed_networks":["10.0.0.0/8"]}`)
	compare("a wrong network", try(c.id, c.secret))
	patch(`{"allowed_networks":null}`)

	w.as(http.MethodPost, accounts+c.id+"/disable", "").is(t, http.StatusOK)
	compare("a disabled account", try(c.id, c.secret))
	w.as(http.MethodPost, accounts+c.id+"/enable", "").is(t, http.StatusOK)

	w.as(http.MethodPost, accounts+c.id+"/client-secrets/rotate", `{"overlap":0}`).is(t, http.StatusCreated)
	compare("an expired credential", try(c.id, c.secret))

	fresh := w.as(http.MethodPost, accounts+c.id+"/client-secrets", "").is(t, http.StatusCreated).str("client_secret")
	patch(`{"expires_at":"` + w.clock.Now().Add(time.Second).UTC().Format(time.RFC3339) + `"}`)
	w.clock.Advance(time.Second)
	compare("an expired account", try(c.id, fresh))
}

func TestCallsThatWereRefusedAreExplained(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operator := w.account("operator", identity.RoleOperatorID)
	token := w.token(operator, "resource", identity.ManagementIdentifier)
	victim := w.account("victim", identity.RoleAdminID)
	for _, c := range []struct{ rule, bearer, method, target, body string }{
		{"insufficient_scope", token, http.MethodPost, "/v1/roles", `{"name":"x"}`},
		{"grant_exceeds_caller", token, http.MethodPost, "/v1/service-accounts/" + victim.id + "/client-secrets", ""},
		{"own_rights", w.adminToken, http.MethodDelete, "/v1/service-accounts/" + w.admin.id + "/roles/" + identity.RoleAdminID, ""},
		{"built_in", w.adminToken, http.MethodDelete, "/v1/roles/" + identity.RoleAdminID, ""},
	} {
		refused := w.send(c.bearer, c.method, c.target, c.body).is(t, http.StatusForbidden)
		if refused.str("code") != c.rule {
			t.Fatalf("%s: %s", c.rule, refused.text)
		}
		got := w.send(token, http.MethodPost, "/v1/authorize/explain", `{"request_id":"`+refused.Header.Get("X-Request-Id")+`"}`).is(t, http.StatusOK)
		if got.str("decision") != "refused" || got.str("rule") != c.rule || got.str("error") != c.rule || got.str("detail") == "" {
			t.Errorf("%s: %s", c.rule, got.text)
		}
		event, _ := got.member("event").(map[string]any)
		if event["reason"] != c.rule || event["type"] != "api.refused" {
			t.Errorf("%s: %v", c.rule, event)
		}
		if c.rule == "insufficient_scope" && !strings.Contains(got.str("detail"), identity.PermRolesWrite) {
			t.Errorf("%s does not say what it takes", got.text)
		}
	}
	// What only reads is on no record.
	read := w.as(http.MethodGet, "/v1/whoami", "").is(t, http.StatusOK)
	a := w.as(http.MethodPost, "/v1/authorize/explain", `{"request_id":"`+read.Header.Get("X-Request-Id")+`"}`).is(t, http.StatusNotFound)
	if !strings.Contains(a.str("detail"), "only counted") {
		t.Error(a.text)
	}
}

func TestQuestionIsOneOfTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const request, account = `"request_id":"req_01jzt3v0q8n4m6x2c9k7b5h1d0"`, `"service_account":"sa_01jzt3v0q8n4m6x2c9k7b5h1d0"`
	for body, pointer := range map[string]string{
		`{}`: "/service_account",
		`{"resource":"https://invoices.example.com"}`:              "/service_account",
		`{` + request + `,` + account + `}`:                        "/request_id",
		`{` + request + `,"address":"192.0.2.7"}`:                  "/request_id",
		`{` + account + `,"address":"192.0.2"}`:                    "/address",
		`{` + account + `,"address":"somewhere"}`:                  "/address",
		`{` + account + `,"credential":"x"}`:                       "/credential",
		`{` + account + `,"resource":"a\u0000b"}`:                  "/resource",
		`{` + account + `,"scope":"a\u0007"}`:                      "/scope",
		`{` + account + `,"scope":""}`:                             "/scope",
		`{"request_id":"sa_01jzt3v0q8n4m6x2c9k7b5h1d0"}`:           "/request_id",
		`{` + account + `,"client_secret":"x"}`:                    "/client_secret",
		`{"service_account":"req_01jzt3v0q8n4m6x2c9k7b5h1d0"}`:     "/service_account",
		`{` + account + `,"credential":"sec_01jzt3v0q8n4m6x2c9k"}`: "/credential",
	} {
		a := w.as(http.MethodPost, "/v1/authorize/explain", body).is(t, http.StatusBadRequest)
		errors, _ := a.member("errors").([]any)
		if len(errors) != 1 || errors[0].(map[string]any)["pointer"] != pointer {
			t.Errorf("%s: %s, want %s", body, a.text, pointer)
		}
	}
	got := w.as(http.MethodPost, "/v1/authorize/explain", `{`+account+`}`).is(t, http.StatusOK)
	if got.str("decision") != "refused" || got.str("rule") != "unknown_client" || got.str("error") != "invalid_client" {
		t.Error(got.text)
	}
}

// The rights of an administrator are seen to be used one by one, not all with
// each token.
func TestRightsOfTheManagementAPIAreUsedByCalls(t *testing.T) {
	t.Parallel()
	url := testkit.SQLite(t)
	w := newWorldWith(t, url, rates{limit.MaxPerMinute, limit.MaxPerMinute, limit.MaxPerMinute})
	auditor := w.account("auditor", identity.RoleAuditorID)
	token := w.token(auditor, "resource", identity.ManagementIdentifier)
	w.send(token, http.MethodGet, "/v1/roles", "").is(t, http.StatusOK)
	w.send(token, http.MethodGet, "/v1/roles?page_size=0", "").is(t, http.StatusBadRequest)
	w.send(token, http.MethodPost, "/v1/roles", `{"name":"x"}`).is(t, http.StatusForbidden)
	must(t, w.store.Close(t.Context()))
	var used []string
	must(t, testkit.Open(t, url, w.clock).View(t.Context(), func(r *store.Reader) error {
		all, _, err := r.PermissionsInEffect(t.Context(), auditor.id, store.EffectiveFilter{}, w.clock.Now(), store.EffectivePosition{}, 100)
		for _, p := range all {
			if !p.LastUsedAt.IsZero() {
				used = append(used, p.Permission)
			}
		}
		return err
	}))
	if diff := cmp.Diff([]string{identity.PermRolesRead}, used); diff != "" {
		t.Error(diff)
	}
}
