package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/testkit"
	"github.com/marque-id/marque/server/internal/token"
)

// asking is whoever guards an API, with a token to ask about.
type asking struct {
	guard          client
	guardSecretID  string
	agent          client
	resourceServer string
	token          string
}

func (w *world) asking() *asking {
	w.t.Helper()
	a := &asking{guard: w.account("guard"), agent: w.account("agent")}
	var role string
	a.resourceServer, role = w.invoices()
	w.as(http.MethodPut, "/v1/service-accounts/"+a.agent.id+"/roles/"+role, "").is(w.t, 200)
	w.as(http.MethodPatch, "/v1/resource-servers/"+a.resourceServer, `{"introspectors":["`+a.guard.id+`"]}`).is(w.t, 200)
	a.guardSecretID = w.secretOf(a.guard)
	a.token = w.token(a.agent, "resource", "https://invoices.example.com")
	return a
}

// ways are the two ways in which a guard can say who it is. more is put behind.
func (a *asking) ways() map[string]func(w *world, more ...string) answer {
	return map[string]func(w *world, more ...string) answer{
		"Basic": func(w *world, more ...string) answer {
			return w.post("/oauth2/introspect", append([]string{"Authorization:", basic(a.guard.id, a.guard.secret), "token", a.token}, more...)...)
		},
		"form": func(w *world, more ...string) answer {
			return w.post("/oauth2/introspect", append([]string{"client_id", a.guard.id, "client_secret", a.guard.secret, "token", a.token}, more...)...)
		},
	}
}

// form is the body by which a guard asks in its second way.
func (a *asking) form() string {
	return url.Values{"client_id": {a.guard.id}, "client_secret": {a.guard.secret}, "token": {a.token}}.Encode()
}

// told is what an answer says: all of it but what no two answers share.
func told(a answer) (string, http.Header) {
	h := maps.Clone(a.Header)
	for _, own := range []string{"X-Request-Id", "Date", "Ratelimit"} {
		if h.Get(own) == "" {
			h.Set("Without", own)
		}
		delete(h, own)
	}
	return a.text, h
}

// Words that were answered before are judged as those that were not: after
// whatever has changed, the same words get the answer that others get, which
// differ in a parameter that nobody knows.
func TestTheSameWordsAreJudgedAnew(t *testing.T) {
	t.Parallel()
	type change struct {
		name   string
		apply  func(w *world, a *asking)
		status int
		active bool
	}
	do := func(method string, path func(*asking) string, body string, status int) func(*world, *asking) {
		return func(w *world, a *asking) { w.as(method, path(a), body).is(w.t, status) }
	}
	guard := func(rest string) func(*asking) string {
		return func(a *asking) string { return "/v1/service-accounts/" + a.guard.id + rest }
	}
	agent := func(rest string) func(*asking) string {
		return func(a *asking) string { return "/v1/service-accounts/" + a.agent.id + rest }
	}
	api := func(a *asking) string { return "/v1/resource-servers/" + a.resourceServer }
	changes := []change{
		{"nothing", func(*world, *asking) {}, 200, true},
		{"the token is revoked", func(w *world, a *asking) {
			w.post("/oauth2/revoke", "Authorization:", basic(a.agent.id, a.agent.secret), "token", a.token).is(w.t, 200)
		}, 200, false},
		{"all tokens of the account are revoked", func(w *world, a *asking) {
			w.as(http.MethodPost, "/v1/revocations", `{"service_account":"`+a.agent.id+`"}`).is(w.t, 200)
		}, 200, false},
		{"the key that signed it is revoked", func(w *world, _ *asking) {
			w.as(http.MethodPost, "/v1/signing-keys/"+w.kid("ES256", "active")+"/revoke", "").is(w.t, 200)
		}, 200, false},
		{"the account is disabled", do(http.MethodPost, agent("/disable"), "", 200), 200, false},
		{"its credential is deleted", func(w *world, a *asking) {
			w.as(http.MethodDelete, agent("/client-secrets/"+w.secretOf(a.agent))(a), "").is(w.t, 204)
		}, 200, false},
		{"the token has expired", func(w *world, a *asking) { w.clock.Advance(time.Hour) }, 200, false},
		{"the guard is no introspector", do(http.MethodPatch, api, `{"introspectors":[]}`, 200), 200, false},
		{"the guard is disabled", do(http.MethodPost, guard("/disable"), "", 200), 401, false},
		{"the guard's secret is deleted", func(w *world, a *asking) {
			w.as(http.MethodDelete, guard("/client-secrets/"+a.guardSecretID)(a), "").is(w.t, 204)
		}, 401, false},
		{"the guard may come from elsewhere only", do(http.MethodPatch, guard(""), `{"allowed_networks":["192.0.2.0/24"]}`, 200), 401, false},
		{"the guard may use keys only", do(http.MethodPatch, guard(""), `{"allowed_credentials":["api_key"]}`, 200), 401, false},
		{"the guard is deleted", do(http.MethodDelete, guard(""), "", 204), 401, false},
	}
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.asking()
			for name, ask := range a.ways() {
				for range 2 {
					if got := ask(w).is(t, 200); got.member("active") != true {
						t.Fatalf("%s: %s", name, got.text)
					}
				}
			}
			c.apply(w, a)
			for name, ask := range a.ways() {
				same, other := ask(w).is(t, c.status), ask(w, "unknown", "x").is(t, c.status)
				sameText, sameHeader := told(same)
				otherText, otherHeader := told(other)
				if diff := cmp.Diff(otherText, sameText) + cmp.Diff(otherHeader, sameHeader); diff != "" {
					t.Errorf("%s: other words get something else: %s", name, diff)
				}
				if got := same.member("active"); c.status == 200 && got != c.active {
					t.Errorf("%s: active is %v", name, got)
				}
			}
		})
	}
}

// Without this, the test above could pass because nothing is ever recalled.
func TestWhatIsRecalledAnswersInsteadOfReadingAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.asking()
	recalled := func() int { return w.server.recall.memory.Held() }
	for name, ask := range a.ways() {
		before := recalled()
		ask(w).is(t, 200)
		if recalled() == before {
			t.Errorf("%s is not remembered", name)
		}
	}
	words, exact := w.server.recall.wordsOf(request(a.form()))
	r := w.server.recall.memory.Get(&words)
	if !exact || r == nil {
		t.Fatal("not found by its words")
	}
	if text := r.client; text.Secret.Reveal() != "" {
		t.Error("the secret is still there")
	}
	// As if the words had meant another token.
	other := w.token(w.admin, "resource", identity.ManagementIdentifier)
	admin, err := w.server.Checker.Bearer(t.Context(), other)
	must(t, err)
	found, err := w.server.Tokens.Introspect(t.Context(), admin, other)
	must(t, err)
	r.token = found.Token
	if got := a.ways()["form"](w).is(t, 200); got.member("active") != false { // the guard may not see it
		t.Errorf("the words were read again: %s", got.text)
	}
}

// What a recalled call was made with serves the next: none gets anything of
// another, answered or refused.
func TestCallsThatAreRecalledAtTheSameTimeAreCallsApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.asking()
	other := w.account("other-guard")
	bodies := map[string]string{ // form → answer; "" for none
		a.form(): "",
		url.Values{"client_id": {w.admin.id}, "client_secret": {w.admin.secret}, "token": {w.adminToken}}.Encode(): "",
		url.Values{"client_id": {other.id}, "client_secret": {other.secret}, "token": {a.token}}.Encode():          "",
	}
	handler := w.app.Server().Handler
	ask := func(form string) (body, id string) {
		c := request(form)
		handler(c)
		return string(c.Response.Body()), string(c.Response.Header.Peek("X-Request-Id"))
	}
	for form := range bodies {
		bodies[form], _ = ask(form)
	}
	var group sync.WaitGroup
	var ids sync.Map
	for range 8 {
		for form, want := range bodies {
			group.Go(func() {
				for range 50 {
					body, id := ask(form)
					if body != want {
						t.Errorf("%s, not %s", body, want)
					}
					if _, twice := ids.LoadOrStore(id, true); twice {
						t.Errorf("two answers have the id %s", id)
					}
				}
			})
		}
	}
	group.Wait()
}

func recalls(w *world, c *fasthttp.RequestCtx) *recalled {
	known, _ := w.server.recall.known(c)
	return known
}

func request(form string) *fasthttp.RequestCtx {
	var c fasthttp.RequestCtx
	c.Request.Header.SetMethod(http.MethodPost)
	c.Request.SetRequestURI("/oauth2/introspect")
	c.Request.Header.SetContentType(formType)
	c.Request.SetBodyString(form)
	return &c
}

func TestOnlyWhatWasFoundGoodIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.asking()
	good := []string{"client_id", a.guard.id, "client_secret", a.guard.secret, "token", a.token}
	with := func(name, value string) []string {
		list := append([]string(nil), good...)
		for i := 0; i < len(list); i += 2 {
			if list[i] == name {
				list[i+1] = value
			}
		}
		return list
	}
	for name, c := range map[string]struct {
		form   []string
		status int
	}{
		"a wrong secret":              {with("client_secret", identity.GenerateClientSecret().Reveal()), 401},
		"a token that is none":        {with("token", "garbage"), 200},
		"a token that is not shown":   {with("token", w.adminToken), 200},
		"an unknown client":           {with("client_id", "sa_00000000000000000000000000"), 401},
		"a bearer token":              {[]string{"Authorization:", "Bearer " + w.adminToken, "token", w.adminToken}, 200},
		"more than is worth a digest": {append(with("", ""), "padding", strings.Repeat("x", maxWords)), 200},
		"another path":                {nil, 0},
	} {
		before := w.server.recall.memory.Held()
		if c.form == nil {
			w.post("/oauth2/revoke", "Authorization:", basic(a.agent.id, a.agent.secret), "token", "garbage").is(t, 200)
		} else {
			w.post("/oauth2/introspect", c.form...).is(t, c.status)
		}
		if got := w.server.recall.memory.Held(); got != before {
			t.Errorf("%s is remembered", name)
		}
	}
}

// What a request means is told by more than its body.
func TestOtherRequestsWithTheSameBodyAreReadInFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.asking()
	a.ways()["form"](w).is(t, 200)
	form := a.form()
	words, exact := w.server.recall.wordsOf(request(form))
	if !exact || recalls(w, request(form)) == nil {
		t.Fatal("the request itself is read in full")
	}
	for name, change := range map[string]func(c *fasthttp.RequestCtx){
		"another body":            func(c *fasthttp.RequestCtx) { c.Request.AppendBodyString("&") },
		"another content type":    func(c *fasthttp.RequestCtx) { c.Request.Header.SetContentType("application/json") },
		"an Authorization header": func(c *fasthttp.RequestCtx) { c.Request.Header.Set("Authorization", "Basic eDp5") },
		"an empty one":            func(c *fasthttp.RequestCtx) { c.Request.Header.Add("Authorization", "") },
		"two Authorization headers": func(c *fasthttp.RequestCtx) {
			c.Request.Header.Add("Authorization", "a")
			c.Request.Header.Add("Authorization", "b")
		},
		"a content encoding":         func(c *fasthttp.RequestCtx) { c.Request.Header.Set("Content-Encoding", "gzip") },
		"a body moved to the header": func(c *fasthttp.RequestCtx) { c.Request.Header.Set("Authorization", form); c.Request.ResetBody() },
	} {
		c := request(form)
		change(c)
		if got, exact := w.server.recall.wordsOf(c); exact && got == words {
			t.Errorf("%s makes no difference", name)
		}
	}
	for name, change := range map[string]func(c *fasthttp.RequestCtx){
		"another method":     func(c *fasthttp.RequestCtx) { c.Request.Header.SetMethod(http.MethodPut) },
		"another path":       func(c *fasthttp.RequestCtx) { c.Request.SetRequestURI("/oauth2/revoke") },
		"a query":            func(c *fasthttp.RequestCtx) { c.Request.SetRequestURI("/oauth2/introspect?x") },
		"another spelling":   func(c *fasthttp.RequestCtx) { c.Request.SetRequestURI("/oauth2//introspect") },
		"an absolute path":   func(c *fasthttp.RequestCtx) { c.Request.SetRequestURI("https://localhost/oauth2/introspect") },
		"a slash at the end": func(c *fasthttp.RequestCtx) { c.Request.SetRequestURI("/oauth2/introspect/") },
	} {
		c := request(form)
		change(c)
		if recalls(w, c) != nil {
			t.Errorf("%s is recalled", name)
		}
	}
}

func TestRecalledIntrospectionsUseUpTheQuota(t *testing.T) {
	t.Parallel()
	const quota = 5
	w := newWorldWith(t, testkit.SQLite(t), rates{limit.MaxPerMinute, quota, limit.MaxPerMinute})
	a := w.asking()
	ask := a.ways()["Basic"]
	for n := range quota {
		if got := ask(w).is(t, 200); got.Header.Get("RateLimit") == "" {
			t.Errorf("answer %d has no RateLimit", n)
		}
	}
	refused := ask(w).is(t, 429)
	if refused.Header.Get("Retry-After") == "" || refused.Header.Get("RateLimit") == "" {
		t.Errorf("%v", refused.Header)
	}
	if other := ask(w, "unknown", "x"); other.StatusCode != 429 || other.text != refused.text {
		t.Errorf("other words: %d %s, the same: %s", other.StatusCode, other.text, refused.text)
	}
}

// It stands before the chain, whose recovery does not reach it.
func TestAPanicOfARecalledCallIsAnInternalError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.asking()
	ask := a.ways()["form"]
	ask(w).is(t, 200)
	words, _ := w.server.recall.wordsOf(request(a.form()))
	w.server.recall.memory.Get(&words).token = token.Known{} // as a bug would leave it
	for range 2 {
		if got := ask(w).is(t, http.StatusInternalServerError); strings.Contains(got.text, "nil pointer") || got.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s", got.text)
		}
	}
	ask(w, "unknown", "x").is(t, 200)
}
