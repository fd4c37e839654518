package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/feed"
	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
	"github.com/marque-id/marque/server/internal/token"
)

// world is a whole server on SQLite with an administrator in it.
// places is how many token requests a world works on at a time.
const places = 4

type world struct {
	gate     *limit.Gate
	t        testing.TB
	app      *fiber.App
	server   *server
	clock    *clock.Fake
	store    *store.Store
	keys     *keyring.Keyring
	endpoint *grant.Endpoint
	feed     *feed.Hub
	refusals *limit.Refusals
	admin    client
	// adminToken holds every management permission.
	adminToken string
}

// client is a service account with its secret.
type client struct{ id, secret string }

// rates are calls a minute.
type rates struct{ tokens, introspection, management int }

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, testkit.SQLite(t), rates{limit.MaxPerMinute, limit.MaxPerMinute, limit.MaxPerMinute})
}

func newWorldWith(t testing.TB, url string, r rates, more ...func(*Deps, *feed.Options)) *world {
	t.Helper()
	return newWorldOn(t, store.Options{URL: url}, r, more...)
}

// newWorldOn is a world whose store is opened as o says; its clock is the world's.
func newWorldOn(t testing.TB, o store.Options, r rates, more ...func(*Deps, *feed.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: testkit.Clock(t)}
	w.refusals = limit.NewRefusals(w.clock)
	ctx := t.Context()
	o.Clock = w.clock
	st, err := store.Open(ctx, o)
	must(t, err)
	w.store = st
	t.Cleanup(func() { must(t, st.Close(context.WithoutCancel(ctx))) })
	master, err := keyring.ParseMasterKeys(keyring.GenerateMasterKey(1))
	must(t, err)
	keys, err := keyring.Open(ctx, st, master, w.clock, nil)
	must(t, err)
	var deps Deps
	following := feed.Options{Store: st, Clock: w.clock}
	for _, fn := range more {
		fn(&deps, &following)
	}
	w.feed = feed.Open(following)
	t.Cleanup(w.feed.Close)
	must(t, st.Start(ctx))
	must(t, keys.Bootstrap(ctx))

	tokens := token.Config{Issuer: testIssuer, Store: st, Keys: keys, Clock: w.clock}
	issuer, err := token.NewIssuer(tokens)
	must(t, err)
	checker, err := token.NewChecker(tokens)
	must(t, err)
	endpoint, err := grant.New(grant.Config{
		Store: st, Issuer: issuer, Clock: w.clock, Elapsed: clock.System(),
		Authenticator: clientauth.New(st, keys),
		Failures:      limit.NewFailures(limit.Options{Clock: w.clock, Slots: 1 << 10}),
		Refusals:      w.refusals,
		Rates:         limit.NewRates(w.clock, r.tokens),
		Grants:        []grant.Grant{grant.ClientCredentials()},
	})
	must(t, err)
	w.keys, w.endpoint = keys, endpoint
	dir := directory.New(st, keys, w.clock)
	w.gate = limit.NewGate(clock.System(), places, limit.NewLateness().Since)
	w.server, w.app, err = newServer(Deps{
		Issuer: testIssuer, Clock: w.clock, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})), Keys: keys,
		Tokens: token.NewService(checker), Checker: checker, Grants: endpoint, Directory: dir, Feed: w.feed,
		WriteTimeout: deps.WriteTimeout,
		Gate:         w.gate, RequestTimeout: time.Minute, Introspection: limit.NewRates(w.clock, r.introspection), Management: limit.NewRates(w.clock, r.management),
	})
	must(t, err)

	account, secret, err := dir.BootstrapAdmin(ctx, false)
	must(t, err)
	w.admin = client{account.ID, secret.Reveal()}
	w.adminToken = w.token(w.admin, "resource", identity.ManagementIdentifier)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is a response, read.
type answer struct {
	*http.Response
	text string
}

// is fails the test unless the answer has the status.
func (a answer) is(t testing.TB, status int) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s %s: %d %s, want %d", a.Request.Method, a.Request.URL, a.StatusCode, a.text, status)
	}
	return a
}

// member is a member of the JSON body, or nil.
func (a answer) member(name string) any {
	var m map[string]any
	if err := json.Unmarshal([]byte(a.text), &m); err != nil {
		return nil
	}
	return m[name]
}

func (a answer) str(name string) string {
	s, _ := a.member(name).(string)
	return s
}

// send makes a request as the bearer of a token; "" sends none.
func (w *world) send(bearer, method, target, body string, header ...string) answer {
	w.t.Helper()
	if bearer != "" {
		header = append(header, "Authorization", "Bearer "+bearer)
	}
	if body != "" {
		header = append(header, "Content-Type", contentTypeOf(method))
	}
	return w.ask(method, target, body, header...)
}

// ask makes a request; whatever comes back must be in the contract.
func (w *world) ask(method, target, body string, header ...string) answer {
	w.t.Helper()
	resp, text := ask(w.t, w.app, method, target, body, header...)
	path, _, _ := strings.Cut(target, "?")
	resp.Request = &http.Request{Method: method, URL: &url.URL{Path: path}}
	documented(w.t, method, path, resp, text)
	return answer{resp, text}
}

func contentTypeOf(method string) string {
	if method == http.MethodPatch {
		return "application/merge-patch+json"
	}
	return "application/json"
}

// as makes a request as the administrator.
func (w *world) as(method, target, body string, header ...string) answer {
	w.t.Helper()
	return w.send(w.adminToken, method, target, body, header...)
}

// post sends a form; pairs are names and values, and names with a colon headers.
func (w *world) post(target string, pairs ...string) answer {
	w.t.Helper()
	form := url.Values{}
	header := []string{"Content-Type", formType}
	for i := 0; i < len(pairs); i += 2 {
		if name, ok := strings.CutSuffix(pairs[i], ":"); ok {
			header = append(header, name, pairs[i+1])
			continue
		}
		form.Add(pairs[i], pairs[i+1])
	}
	return w.ask(http.MethodPost, target, form.Encode(), header...)
}

// token gets a token for a client.
func (w *world) token(c client, pairs ...string) string {
	w.t.Helper()
	form := append([]string{"grant_type", "client_credentials", "client_id", c.id, "client_secret", c.secret}, pairs...)
	return w.post("/oauth2/token", form...).is(w.t, http.StatusOK).str("access_token")
}

// account makes a service account with a secret and roles.
func (w *world) account(name string, roles ...string) client {
	w.t.Helper()
	id := w.as(http.MethodPost, "/v1/service-accounts", `{"name":"`+name+`","owner":"tests"}`).
		is(w.t, http.StatusCreated).str("id")
	secret := w.as(http.MethodPost, "/v1/service-accounts/"+id+"/client-secrets", "").
		is(w.t, http.StatusCreated).str("client_secret")
	for _, role := range roles {
		w.as(http.MethodPut, "/v1/service-accounts/"+id+"/roles/"+role, "").is(w.t, http.StatusOK)
	}
	return client{id, secret}
}

// secretOf is the id of a client's first secret.
func (w *world) secretOf(c client) string {
	w.t.Helper()
	return w.as(http.MethodGet, "/v1/service-accounts/"+c.id+"/client-secrets", "").is(w.t, 200).member("items").([]any)[0].(map[string]any)["id"].(string)
}

// apiKey makes an API key of an account.
func (w *world) apiKey(account, body string) answer {
	w.t.Helper()
	return w.as(http.MethodPost, "/v1/service-accounts/"+account+"/api-keys", body).is(w.t, http.StatusCreated)
}

// login signs in by an API key; pairs are further members of the body.
func (w *world) login(key string, pairs ...string) answer {
	w.t.Helper()
	body := map[string]string{"api_key": key}
	for i := 0; i < len(pairs); i += 2 {
		body[pairs[i]] = pairs[i+1]
	}
	text, err := json.Marshal(body)
	must(w.t, err)
	return w.send("", http.MethodPost, "/v1/login", string(text))
}

// invoices makes a resource server with a permission and a role that gives it.
func (w *world) invoices() (resourceServer, role string) {
	w.t.Helper()
	resourceServer = w.as(http.MethodPost, "/v1/resource-servers",
		`{"identifier":"https://invoices.example.com","name":"invoices","permissions":[{"name":"invoices:read"},{"name":"invoices:write"}]}`).
		is(w.t, http.StatusCreated).str("id")
	role = w.as(http.MethodPost, "/v1/roles",
		`{"name":"clerk","permissions":[{"resource_server":"`+resourceServer+`","permission":"invoices:read"}]}`).
		is(w.t, http.StatusCreated).str("id")
	return resourceServer, role
}
