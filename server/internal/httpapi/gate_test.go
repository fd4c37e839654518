package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/operation"
	"github.com/marque-id/marque/server/internal/store"
)

// holder is an account with all that it can come in by.
type holder struct {
	client
	secretID, key, keyID         string
	secretToken, keyToken, other string // tokens by the secret and by the key, and one to ask about
}

func (w *world) holder(name string) *holder {
	w.t.Helper()
	h := &holder{client: w.account(name, identity.RoleAdminID)}
	h.secretID = w.secretOf(h.client)
	made := w.apiKey(h.id, `{"name":"k"}`)
	h.key, h.keyID = made.str("api_key"), made.str("id")
	h.secretToken = w.token(h.client, "resource", identity.ManagementIdentifier)
	h.keyToken = w.login(h.key, "resource", identity.ManagementIdentifier).is(w.t, 200).str("access_token")
	h.other = w.token(w.admin, "resource", identity.ManagementIdentifier)
	return h
}

// waysIn are all paths by which an account comes to a token, or to what it may do
// with one, by the credential that they rest on. By their names a test holds them
// against the operations and the grants that there are.
func waysIn() map[string]struct {
	by  identity.CredentialKind
	try func(w *world, h *holder) answer
} {
	type way = struct {
		by  identity.CredentialKind
		try func(w *world, h *holder) answer
	}
	const management = identity.ManagementIdentifier
	bearer := func(token string) string { return "Bearer " + token }
	ways := map[string]way{
		"tokens.issue client_credentials": {identity.KindClientSecret, func(w *world, h *holder) answer { return w.tryToken(h.client, "resource", management) }},
		"tokens.login":                    {identity.KindAPIKey, func(w *world, h *holder) answer { return w.login(h.key, "resource", management) }},
	}
	for _, target := range []string{"introspect", "revoke"} {
		ways["tokens."+target+" client"] = way{identity.KindClientSecret, func(w *world, h *holder) answer {
			return w.post("/oauth2/"+target, "Authorization:", basic(h.id, h.secret), "token", h.other)
		}}
		ways["tokens."+target+" bearer"] = way{identity.KindClientSecret, func(w *world, h *holder) answer {
			return w.post("/oauth2/"+target, "Authorization:", bearer(h.secretToken), "token", h.other)
		}}
		ways["tokens."+target+" bearer by key"] = way{identity.KindAPIKey, func(w *world, h *holder) answer {
			return w.post("/oauth2/"+target, "Authorization:", bearer(h.keyToken), "token", h.other)
		}}
	}
	ways["bearer"] = way{identity.KindClientSecret, func(w *world, h *holder) answer {
		return w.send(h.secretToken, http.MethodPost, "/v1/service-accounts/"+h.id+"/client-secrets", "")
	}}
	ways["bearer by key"] = way{identity.KindAPIKey, func(w *world, h *holder) answer {
		return w.send(h.keyToken, http.MethodPost, "/v1/service-accounts/"+h.id+"/api-keys", `{"name":"another"}`)
	}}
	return ways
}

// A new grant, or a new way to sign in, must be put among the ways in, or this fails.
func TestTheWaysInAreAllThereAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for _, op := range operation.Table() {
		switch op.SignIn {
		case operation.None:
		case operation.Bearer:
			want = append(want, "bearer", "bearer by key")
		case operation.Client:
			for _, grant := range w.endpoint.GrantTypes() {
				want = append(want, op.ID+" "+grant)
			}
		case operation.ClientOrBearer:
			want = append(want, op.ID+" client", op.ID+" bearer", op.ID+" bearer by key")
		case operation.APIKey:
			want = append(want, op.ID)
		default:
			t.Errorf("%s has a sign-in that no way in stands for", op.ID)
		}
	}
	slices.Sort(want)
	want = slices.Compact(want)
	var have []string
	for name := range waysIn() {
		have = append(have, name)
	}
	slices.Sort(have)
	if !slices.Equal(want, have) {
		t.Errorf("there are %v\ntried are  %v", want, have)
	}
}

func TestTheGateStandsBeforeEveryWayIn(t *testing.T) {
	t.Parallel()
	type stop struct {
		apply func(w *world, h *holder)
		of    identity.CredentialKind // "": of the account, and so of both
	}
	account := func(method, rest, body string, status int) func(*world, *holder) {
		return func(w *world, h *holder) {
			w.as(method, "/v1/service-accounts/"+h.id+rest, body).is(w.t, status)
		}
	}
	stops := map[string]stop{
		"disabled": {account(http.MethodPost, "/disable", "", 200), ""},
		"expired": {func(w *world, h *holder) {
			account(http.MethodPatch, "", `{"expires_at":"`+w.clock.Now().Add(time.Second).Format(time.RFC3339)+`"}`, 200)(w, h)
			w.clock.Advance(time.Second)
		}, ""},
		"deleted":           {account(http.MethodDelete, "", "", 204), ""},
		"another network":   {account(http.MethodPatch, "", `{"allowed_networks":["198.51.100.0/24"]}`, 200), ""},
		"secrets forbidden": {account(http.MethodPatch, "", `{"allowed_credentials":["api_key"]}`, 200), identity.KindClientSecret},
		"keys forbidden":    {account(http.MethodPatch, "", `{"allowed_credentials":["client_secret"]}`, 200), identity.KindAPIKey},
		"secret deleted": {func(w *world, h *holder) {
			account(http.MethodDelete, "/client-secrets/"+h.secretID, "", 204)(w, h)
		}, identity.KindClientSecret},
		"secret expired": {account(http.MethodPost, "/client-secrets/rotate", `{"overlap":0}`, 201), identity.KindClientSecret},
		"key deleted": {func(w *world, h *holder) {
			account(http.MethodDelete, "/api-keys/"+h.keyID, "", 204)(w, h)
		}, identity.KindAPIKey},
		"key expired": {func(w *world, h *holder) {
			account(http.MethodPost, "/api-keys/"+h.keyID+"/rotate", `{"overlap":0}`, 201)(w, h)
		}, identity.KindAPIKey},
		"key in another network": {func(w *world, h *holder) {
			account(http.MethodPatch, "/api-keys/"+h.keyID, `{"allowed_networks":["198.51.100.0/24"]}`, 200)(w, h)
		}, identity.KindAPIKey},
	}
	for name, s := range stops {
		t.Run(name, func(t *testing.T) {
			onEachDatabase(t, func(t *testing.T, w *world) {
				h := w.holder("holder")
				for way, c := range waysIn() {
					if a := c.try(w, h); a.StatusCode >= 300 {
						t.Fatalf("%s before: %d %s", way, a.StatusCode, a.text)
					}
				}
				h.other = w.token(w.admin, "resource", identity.ManagementIdentifier) // the other was revoked
				s.apply(w, h)
				for way, c := range waysIn() {
					switch a := c.try(w, h); {
					case s.of == "" || s.of == c.by:
						if a.StatusCode != http.StatusUnauthorized {
							t.Errorf("%s: %d %s", way, a.StatusCode, a.text)
						}
					case a.StatusCode >= 300:
						t.Errorf("%s is stopped too: %d %s", way, a.StatusCode, a.text)
					}
				}
			})
		})
	}
}

// What one thing proves no other does: each is presented wherever any of them may
// be, and only the diagonal passes.
func TestOneKindOfTokenIsNeverTakenForAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, clerk := w.invoices()
	agent := w.account("agent", clerk)
	if _, err := keyring.NewCheckpointer(w.keys).Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	var checkpoint audit.SignedCheckpoint
	must(t, w.store.Maintain(t.Context(), func(m *store.Maintenance) (err error) {
		checkpoint, err = m.LastCheckpoint(t.Context())
		return err
	}))
	presented := map[string]string{
		"management token": w.adminToken,
		"API token":        w.token(agent, "resource", "https://invoices.example.com"),
		"checkpoint":       checkpoint.Signed,
		"client secret":    agent.secret,
		"API key":          w.apiKey(agent.id, `{"name":"k"}`).str("api_key"),
	}
	introspect := func(text string) answer {
		return w.post("/oauth2/introspect", "Authorization:", basic(w.admin.id, w.admin.secret), "token", text)
	}
	slots := []struct {
		name   string
		passes func(text string) bool
		want   []string
	}{
		{"bearer", func(text string) bool {
			return w.send(text, http.MethodGet, "/v1/whoami", "").StatusCode == 200
		}, []string{"management token"}},
		{"introspect by bearer", func(text string) bool {
			return w.post("/oauth2/introspect", "Authorization:", "Bearer "+text, "token", "x").StatusCode == 200
		}, []string{"management token"}},
		{"client_secret", func(text string) bool {
			return w.tryToken(client{agent.id, text}, "resource", "https://invoices.example.com").StatusCode == 200
		}, []string{"client secret"}},
		{"api_key", func(text string) bool {
			return w.login(text, "resource", "https://invoices.example.com").StatusCode == 200
		}, []string{"API key"}},
		{"introspected token", func(text string) bool { return introspect(text).is(t, 200).member("active") == true }, []string{"management token", "API token"}},
		{"revoked token", func(text string) bool { // last: what passes is gone
			before := len(w.revocations())
			w.post("/oauth2/revoke", "Authorization:", basic(w.admin.id, w.admin.secret), "token", text).is(t, 200)
			return len(w.revocations()) > before
		}, []string{"management token", "API token"}},
	}
	for _, slot := range slots {
		for kind, text := range presented {
			if slot.name == "revoked token" && kind == "management token" {
				text = w.token(w.admin, "resource", identity.ManagementIdentifier) // not the one that this test asks with
			}
			if got, want := slot.passes(text), slices.Contains(slot.want, kind); got != want {
				t.Errorf("%s as %s: passes %t", kind, slot.name, got)
			}
		}
	}
}

// revocations are the recorded ones of single tokens.
func (w *world) revocations() []string {
	w.t.Helper()
	var ids []string
	for _, item := range w.as(http.MethodGet, "/v1/audit-events?type=token.revoked&page_size=200", "").is(w.t, 200).member("items").([]any) {
		ids = append(ids, item.(map[string]any)["subject"].(string))
	}
	return ids
}

// Who calls from where it may not is told nothing, and the operator everything.
func TestACallFromAnotherNetworkIsOnRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.holder("holder")
	w.as(http.MethodPatch, "/v1/service-accounts/"+h.id, `{"allowed_networks":["198.51.100.0/24"]}`).is(t, 200)
	a := w.send(h.secretToken, http.MethodGet, "/v1/roles", "").is(t, 401)
	if a.str("code") != "invalid_token" || !strings.Contains(a.Header.Get("WWW-Authenticate"), `error="invalid_token"`) {
		t.Errorf("%s", a.text)
	}
	// Its token is genuine, so that the refusal is on record with who it was.
	got := w.as(http.MethodPost, "/v1/authorize/explain", `{"request_id":"`+a.str("request_id")+`"}`).is(t, 200)
	if got.str("rule") != "address_not_allowed" || got.str("error") != "invalid_token" {
		t.Errorf("%s", got.text)
	}
	a = w.login(h.key).is(t, 401)
	got = w.as(http.MethodPost, "/v1/authorize/explain", `{"request_id":"`+a.str("request_id")+`"}`).is(t, 200)
	if got.str("rule") != "address_not_allowed" || got.str("error") != "invalid_api_key" {
		t.Errorf("%s", got.text)
	}
}
