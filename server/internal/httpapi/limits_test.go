package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/operation"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// quota is what the RateLimit fields of an answer say.
type quota struct {
	name       string
	q, w, r, t int64
}

// quotaOf parses the fields with a parser of structured fields (RFC 9651): both
// are lists of one string with parameters that are integers.
func quotaOf(t *testing.T, a answer) quota {
	t.Helper()
	policy, q := member(t, a, "RateLimit-Policy", "q", "w")
	name, r := member(t, a, "RateLimit", "r", "t")
	if policy != name {
		t.Errorf("RateLimit-Policy is about %q, RateLimit about %q", policy, name)
	}
	return quota{name, q[0], q[1], r[0], r[1]}
}

func member(t *testing.T, a answer, field string, parameters ...string) (name string, values []int64) {
	t.Helper()
	list, err := httpsfv.UnmarshalList(a.Header.Values(field))
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %q: %d members, %v", field, a.Header.Values(field), len(list), err)
	}
	item, ok := list[0].(httpsfv.Item)
	if !ok {
		t.Fatalf("%s: %q is no item", field, a.Header.Values(field))
	}
	if diff := cmp.Diff(parameters, item.Params.Names()); diff != "" {
		t.Errorf("%s: parameters: %s", field, diff)
	}
	for _, p := range parameters {
		v, _ := item.Params.Get(p)
		n, ok := v.(int64)
		if !ok || n < 0 {
			t.Errorf("%s: %s is %v", field, p, v)
		}
		values = append(values, n)
	}
	if name, ok = item.Value.(string); !ok {
		t.Errorf("%s is about %v, which is no string", field, item.Value)
	}
	return name, values
}

func expectQuota(t *testing.T, a answer, want quota) {
	t.Helper()
	if got := quotaOf(t, a); got != want {
		t.Errorf("%s: quota %+v, want %+v", a.Request.URL.Path, got, want)
	}
}

func unlimited(t *testing.T, a answer) {
	t.Helper()
	if a.Header.Get("RateLimit") != "" || a.Header.Get("RateLimit-Policy") != "" {
		t.Errorf("%s: %v", a.Request.URL.Path, a.Header)
	}
}

// expectLimited holds a 429 against both forms of errors.
func expectLimited(t *testing.T, a answer, retryAfter int) {
	t.Helper()
	a.is(t, http.StatusTooManyRequests)
	if got := a.Header.Get("Retry-After"); got != strconv.Itoa(retryAfter) {
		t.Errorf("%s: Retry-After %q, want %d", a.Request.URL.Path, got, retryAfter)
	}
	if strings.HasPrefix(a.Request.URL.Path, "/oauth2/") {
		if a.text != `{"error":"rate_limited","error_description":"too many requests"}` || a.Header.Get("Content-Type") != "application/json" ||
			a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %v", a.text, a.Header)
		}
		return
	}
	if a.str("code") != "rate_limited" || a.str("type") != "urn:marque:problem:rate_limited" || a.str("request_id") != a.Header.Get("X-Request-Id") {
		t.Error(a.text)
	}
}

func (w *world) tryToken(c client, pairs ...string) answer {
	w.t.Helper()
	return w.post("/oauth2/token", append([]string{"grant_type", "client_credentials", "Authorization:", basic(c.id, c.secret)}, pairs...)...)
}

func TestTokensAreLimitedByAccount(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := newWorldWith(t, url, rates{3, 100, 1000})
		_, clerk := w.invoices()
		one, two := w.account("one", clerk), w.account("two", clerk)
		const api = "https://invoices.example.com"
		for n := range int64(3) {
			expectQuota(t, w.tryToken(one, "resource", api).is(t, 200), quota{"tokens", 3, 60, 2 - n, 20 * (n + 1)})
		}
		over := w.tryToken(one, "resource", api)
		expectLimited(t, over, 20)
		expectQuota(t, over, quota{"tokens", 3, 60, 0, 60})
		expectQuota(t, w.tryToken(two, "resource", api).is(t, 200), quota{"tokens", 3, 60, 2, 20})

		w.clock.Advance(19*time.Second + 1) // 20 s are rounded up, never down
		expectLimited(t, w.tryToken(one, "resource", api), 1)
		w.clock.Advance(time.Second - 1)
		expectQuota(t, w.tryToken(one, "resource", api).is(t, 200), quota{"tokens", 3, 60, 0, 60})
		expectLimited(t, w.tryToken(one, "resource", api), 20)

		// A rate of its own, at once, and back.
		path := "/v1/service-accounts/" + one.id
		w.as(http.MethodPatch, path, `{"token_rate_limit":60}`).is(t, 200)
		w.clock.Advance(time.Second)
		expectQuota(t, w.tryToken(one, "resource", api).is(t, 200), quota{"tokens", 60, 60, 0, 60})
		w.as(http.MethodPatch, path, `{"token_rate_limit":null}`).is(t, 200)
		expectLimited(t, w.tryToken(one, "resource", api), 20)

		// What is refused after the sign-in has been charged and says so; what
		// is refused before it has not.
		expectQuota(t, w.tryToken(two, "resource", "https://elsewhere.example.com").is(t, 400), quota{"tokens", 3, 60, 2, 20})
		unlimited(t, w.tryToken(client{two.id, "wrong"}).is(t, 401))
		unlimited(t, w.post("/oauth2/token", "grant_type", "client_credentials").is(t, 401))
	})
}

func TestManagementIsLimitedByCaller(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := newWorldWith(t, url, rates{1000, 2, 60})
		c := w.account("auditor", identity.RoleAuditorID)
		bearer := w.token(c, "resource", identity.ManagementIdentifier)
		w.clock.Advance(time.Minute)

		expectQuota(t, w.send(bearer, http.MethodGet, "/v1/whoami", "").is(t, 200), quota{"management", 60, 60, 59, 1})
		// What is refused after the sign-in counts: a missing permission, a bad
		// parameter, a thing that is not there.
		expectQuota(t, w.send(bearer, http.MethodPost, "/v1/roles", `{"name":`).is(t, 403), quota{"management", 60, 60, 58, 2})
		expectQuota(t, w.send(bearer, http.MethodGet, "/v1/roles?page_size=x", "").is(t, 400), quota{"management", 60, 60, 57, 3})
		expectQuota(t, w.send(bearer, http.MethodGet, "/v1/roles/role_01jzt3v0q8n4m6x2c9k7b5h1d0", "").is(t, 404), quota{"management", 60, 60, 56, 4})
		// So does revocation, which writes too.
		expectQuota(t, w.post("/oauth2/revoke", "token", "x", "Authorization:", basic(c.id, c.secret)).is(t, 200), quota{"management", 60, 60, 55, 5})
		for range 55 {
			w.send(bearer, http.MethodGet, "/v1/whoami", "").is(t, 200)
		}
		// Before the permission, the parameters and the body are looked at.
		for _, a := range []answer{
			w.send(bearer, http.MethodGet, "/v1/whoami", ""),
			w.send(bearer, http.MethodPost, "/v1/roles", `{"name":`),
			w.send(bearer, http.MethodGet, "/v1/roles?page_size=x", ""),
			w.post("/oauth2/revoke", "token", "x", "Authorization:", basic(c.id, c.secret)),
			w.post("/oauth2/revoke", "token", "x", "Authorization:", "Bearer "+bearer),
		} {
			expectLimited(t, a, 1)
			expectQuota(t, a, quota{"management", 60, 60, 0, 60})
		}
		// Others are served, and so is this one elsewhere.
		w.as(http.MethodGet, "/v1/whoami", "").is(t, 200)
		inspect := func() answer {
			return w.post("/oauth2/introspect", "token", "x", "Authorization:", "Bearer "+bearer)
		}
		expectQuota(t, inspect().is(t, 200), quota{"introspection", 2, 60, 1, 30})
		expectQuota(t, w.post("/oauth2/introspect", "token", "x", "Authorization:", basic(c.id, c.secret)).is(t, 200), quota{"introspection", 2, 60, 0, 60})
		expectLimited(t, inspect(), 30)
		w.clock.Advance(time.Second)
		w.send(bearer, http.MethodGet, "/v1/whoami", "").is(t, 200)

		// Without sign-in nothing is told.
		unlimited(t, w.send("", http.MethodGet, "/v1/whoami", "").is(t, 401))
		unlimited(t, w.send("x", http.MethodGet, "/v1/whoami", "").is(t, 401))
	})
}

func TestEveryLimitedOperationSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	classes := make(map[string]operation.LimitClass)
	for _, op := range operation.Table() {
		classes[op.ID] = op.Limit
	}
	eachOperation(t, func(method, path string, op *openapi3.Operation) {
		class := classes[op.OperationID]
		documented := op.Responses.Value("429")
		if (documented != nil) != (class != operation.Unlimited) {
			t.Errorf("%s: its 429 is documented: %v", op.OperationID, documented != nil)
		}
		if documented != nil {
			for _, name := range []string{"Retry-After", "RateLimit", "RateLimit-Policy"} {
				if documented.Value.Headers[name] == nil {
					t.Errorf("%s: the 429 has no %s", op.OperationID, name)
				}
			}
		}
		var a answer
		switch class {
		case operation.Tokens:
			a = w.tryToken(w.admin, "resource", identity.ManagementIdentifier)
			if op.OperationID == "tokens.login" {
				key := w.apiKey(w.admin.id, `{"name":"k"}`).str("api_key")
				a = w.login(key, "resource", identity.ManagementIdentifier)
			}
		case operation.Unlimited:
			unlimited(t, sample(t, method, path, op)(w, ""))
			return
		default:
			a = sample(t, method, path, op)(w, w.adminToken)
		}
		if got := quotaOf(t, a); got.name != class.String() || got.q != limit.MaxPerMinute || got.w != 60 || got.r >= got.q || got.t < 1 {
			t.Errorf("%s: %+v", op.OperationID, got)
		}
	})
}

func TestOneRangeOfRates(t *testing.T) {
	t.Parallel()
	if identity.MaxTokenRateLimit != limit.MaxPerMinute {
		t.Error("an account may be given a rate that is not kept")
	}
	schemas := spec(t).Components.Schemas
	for _, name := range []string{"ServiceAccountCreate", "ServiceAccountUpdate"} {
		s := schemas[name].Value.Properties["token_rate_limit"].Value
		if *s.Min != 1 || *s.Max != identity.MaxTokenRateLimit {
			t.Errorf("%s: from %v to %v", name, *s.Min, *s.Max)
		}
	}
}

// Client enumeration, and guessing as an oracle: whoever tries secrets sees the
// same for an account that exists and for one that does not, at every try,
// before and after the budget is used up.
func TestGuessesTellNothingOfAnAccount(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := newWorldWith(t, url, rates{1000, 1000, 1000})
		known := w.account("known")
		disabled := w.account("disabled")
		w.as(http.MethodPost, "/v1/service-accounts/"+disabled.id+"/disable", "").is(t, 200)
		unknown := []string{identity.NewID(identity.PrefixServiceAccount, w.clock.Now()), "nobody"}
		guess := identity.GenerateClientSecret().Reveal()
		for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"} {
			for try := range 14 {
				var faces []string
				for _, id := range append([]string{known.id, disabled.id}, unknown...) {
					a := w.post(path, "grant_type", "client_credentials", "token", "x", "client_id", id, "client_secret", guess)
					for _, volatile := range []string{"X-Request-Id", "Date"} {
						a.Header.Del(volatile)
					}
					unlimited(t, a)
					faces = append(faces, fmt.Sprint(a.StatusCode, a.Header, a.text))
				}
				for _, face := range faces {
					if face != faces[0] {
						t.Fatalf("%s, try %d: answers differ:\n%s\n%s", path, try, faces[0], face)
					}
				}
				want := "401"
				if try >= 10 {
					want = "429"
				}
				if !strings.HasPrefix(faces[0], want) {
					t.Fatalf("%s, try %d: %s", path, try, faces[0])
				}
				w.clock.Advance(100 * time.Millisecond)
			}
			w.clock.Advance(time.Hour)
		}
	})
}

// apiRefused are the events of that type, oldest first.
func (w *world) apiRefused() (events []audit.Event) {
	w.t.Helper()
	must(w.t, w.store.View(w.t.Context(), func(r *store.Reader) error {
		return r.AuditLinks(w.t.Context(), w.store.AuditChain(), func(l audit.Link) error {
			if l.Event.Type == audit.APIRefused {
				events = append(events, l.Event)
			}
			return nil
		})
	}))
	return events
}

func (w *world) counted() map[string]string {
	w.t.Helper()
	var details map[string]string
	must(w.t, w.refusals.Flush(w.t.Context(), func(_ context.Context, e audit.Event) error {
		details = e.Details
		return nil
	}))
	return details
}

func TestRefusedCallsAreOnRecord(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := newWorldWith(t, url, rates{1000, 1000, 30})
		c := w.account("auditor", identity.RoleAuditorID)
		operator := w.account("operator", identity.RoleOperatorID)
		bearer := w.token(c, "resource", identity.ManagementIdentifier)
		w.counted()
		w.clock.Advance(time.Minute)

		a := w.send(bearer, http.MethodDelete, "/v1/roles/role_01jzt3v0q8n4m6x2c9k7b5h1d0", "").is(t, 403)
		events := w.apiRefused()
		if len(events) != 1 {
			t.Fatalf("%d events of one refusal", len(events))
		}
		e := events[0]
		if e.Outcome != audit.Refused || e.Reason != "insufficient_scope" || e.Actor != c.id || e.AccountID != c.id || e.TokenID == "" ||
			e.RequestID != a.Header.Get("X-Request-Id") || e.Details["operation"] != "roles.delete" || e.Details["permission"] != identity.PermRolesWrite {
			t.Errorf("on record as %+v", e)
		}
		// What a use case denies is a refusal like any other.
		w.as(http.MethodDelete, "/v1/roles/"+identity.RoleAdminID, "").is(t, 403)
		reach := w.token(operator, "resource", identity.ManagementIdentifier)
		w.send(reach, http.MethodPost, "/v1/service-accounts/"+w.admin.id+"/client-secrets", "").is(t, 403)
		events = w.apiRefused()[1:]
		if len(events) != 2 || events[0].Reason != "built_in" || events[0].Actor != w.admin.id || events[0].Details["operation"] != "roles.delete" ||
			events[1].Reason != "grant_exceeds_caller" || events[1].Actor != operator.id || events[1].Details["operation"] != "client_secrets.create" {
			t.Errorf("on record as %+v", events)
		}
		// A flood: ten a minute, then a number; over the rate is a reason of its own.
		for range 29 {
			w.send(bearer, http.MethodPost, "/v1/roles", `{}`).is(t, 403)
		}
		for range 5 {
			w.send(bearer, http.MethodPost, "/v1/roles", `{}`).is(t, 429)
		}
		if n := len(w.apiRefused()); n != 12 {
			t.Errorf("%d events", n)
		}
		if diff := cmp.Diff(map[string]string{"insufficient_scope": "20", "rate_exceeded": "5"}, w.counted()); diff != "" {
			t.Errorf("counted: %s", diff)
		}
	})
}

func TestStrangersAreOnlyCounted(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := newWorldWith(t, url, rates{1000, 1000, 1000})
		c := w.account("auditor", identity.RoleAuditorID)
		other := w.token(c, "resource", identity.ManagementIdentifier)
		w.as(http.MethodPost, "/v1/service-accounts/"+c.id+"/revocations", "").is(t, 200)
		w.counted()
		const mark = "x-marks-the-spot"
		for i := range 20 {
			w.send(mark, http.MethodGet, "/v1/roles", "", "Traceparent", mark).is(t, 401)
			w.send(mark+strconv.Itoa(i), http.MethodGet, "/v1/roles/"+mark, "").is(t, 401)
			w.send(other, http.MethodGet, "/v1/roles?"+mark+"=1", "").is(t, 401) // revoked: nobody any more
			w.post("/oauth2/introspect", "token", mark, "Authorization:", "Bearer "+mark).is(t, 401)
			w.send("", http.MethodGet, "/v1/roles", "").is(t, 401) // nothing was presented
		}
		if n := len(w.apiRefused()); n != 0 {
			t.Errorf("%d events", n)
		}
		if diff := cmp.Diff(map[string]string{"invalid_token": "80"}, w.counted()); diff != "" {
			t.Errorf("counted: %s", diff)
		}
		must(t, w.store.View(t.Context(), func(r *store.Reader) error {
			return r.AuditLinks(t.Context(), w.store.AuditChain(), func(l audit.Link) error {
				if strings.Contains(string(l.Canonical), mark) {
					t.Errorf("the record holds %s", l.Canonical)
				}
				return nil
			})
		}))
	})
}

// A refusal that cannot be recorded is not answered as one, and never as a
// success: with the record gone, all that is left is "come back later".
func TestARefusalFailsClosed(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := newWorldWith(t, url, rates{1000, 1000, 1000})
		bearer := w.token(w.account("auditor", identity.RoleAuditorID), "resource", identity.ManagementIdentifier)
		w.send(bearer, http.MethodGet, "/v1/whoami", "").is(t, 200)
		must(t, w.store.Close(t.Context()))
		a := w.send(bearer, http.MethodPost, "/v1/roles", `{}`).is(t, http.StatusServiceUnavailable)
		if a.str("code") != "unavailable" || a.Header.Get("Retry-After") == "" || a.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s %v", a.text, a.Header)
		}
	})
}
