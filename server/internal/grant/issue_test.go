package grant

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestTokenIsIssuedAndOnRecord(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		r := w.request("scope", "invoices:read")
		r.TraceID = "0af7651916cd43dd8448eb211c80319c"
		got, err := w.endpoint.Issue(t.Context(), r)
		w.must(err)
		if got.TokenType != "Bearer" || got.ExpiresIn != 900 || got.Scope != "invoices:read" {
			t.Errorf("the answer is %+v", got)
		}
		claims, err := w.checker.Verify(t.Context(), got.AccessToken)
		w.must(err)
		if claims.ClientID != w.id || claims.Audience != testAPI || claims.CredentialID != w.credID ||
			cmp.Diff([]string{"clerk"}, claims.Roles) != "" || claims.TokenID != got.TokenID {
			t.Errorf("the token says %+v", claims)
		}

		events := w.events(audit.TokenIssued)
		if len(events) != 1 {
			t.Fatalf("%d events", len(events))
		}
		e := events[0]
		e.ID = ""
		want := audit.Event{
			At: w.clock.Now().UTC().Truncate(time.Microsecond), Type: audit.TokenIssued, Outcome: audit.Success,
			Actor: w.id, AccountID: w.id, CredentialID: w.credID, Audience: testAPI, Scope: "invoices:read",
			TokenID: got.TokenID, Address: w.home, RequestID: r.RequestID, TraceID: r.TraceID,
		}
		if diff := cmp.Diff(want, e, cmp.Comparer(sameAddress)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestRequestsAreAnsweredExactly(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		tests := map[string]struct {
			params []string
			code   fault.Code // "" is success
			scope  string
		}{
			"all that the roles give":      {nil, "", "invoices:read invoices:write"},
			"narrowed":                     {[]string{"scope", "invoices:write"}, "", "invoices:write"},
			"audience for resource":        {[]string{"resource", "", "audience", testAPI}, "", "invoices:read invoices:write"},
			"both, the same":               {[]string{"audience", testAPI}, "", "invoices:read invoices:write"},
			"both, different":              {[]string{"audience", closedAPI}, fault.CodeInvalidRequest, ""},
			"no grant_type":                {[]string{"grant_type", ""}, fault.CodeInvalidRequest, ""},
			"unknown grant_type":           {[]string{"grant_type", "password"}, fault.CodeUnsupportedGrantType, ""},
			"grant_type in another case":   {[]string{"grant_type", "Client_Credentials"}, fault.CodeUnsupportedGrantType, ""},
			"no resource and no default":   {[]string{"resource", ""}, fault.CodeInvalidTarget, ""},
			"relative resource":            {[]string{"resource", "/invoices"}, fault.CodeInvalidTarget, ""},
			"resource with a fragment":     {[]string{"resource", testAPI + "#x"}, fault.CodeInvalidTarget, ""},
			"unknown resource":             {[]string{"resource", "https://unknown.example"}, fault.CodeInvalidTarget, ""},
			"resource with nothing to do":  {[]string{"resource", closedAPI}, fault.CodeInvalidTarget, ""},
			"management without any role":  {[]string{"resource", identity.ManagementIdentifier}, fault.CodeInvalidTarget, ""},
			"scope beyond the roles":       {[]string{"scope", "invoices:pay"}, fault.CodeInvalidScope, ""},
			"scope partly beyond":          {[]string{"scope", "invoices:read invoices:pay"}, fault.CodeInvalidScope, ""},
			"scope of another API":         {[]string{"scope", identity.PermAuditRead}, fault.CodeInvalidScope, ""},
			"malformed scope":              {[]string{"scope", "invoices:read  invoices:write"}, fault.CodeInvalidScope, ""},
			"parameters nobody asked for":  {[]string{"foo", "bar"}, "", "invoices:read invoices:write"},
			"unknown resource, same words": {[]string{"resource", "https://unknown.example", "scope", "x"}, fault.CodeInvalidTarget, ""},
		}
		issued, refused := 0, 0
		for name, tt := range tests {
			// An address for each: ten refusals a minute are the most that are recorded singly.
			got, err := w.endpoint.Issue(t.Context(), w.request(tt.params...).from("198.51.100."+string('0'+rune(refused/10))))
			if tt.code == "" {
				issued++
				if err != nil || got.Scope != tt.scope {
					t.Errorf("%s: %+v, %v", name, got, err)
				}
				continue
			}
			refused++
			if f := fault.From(err); f == nil || f.Code != tt.code || f.Kind != fault.KindInvalid || got != nil {
				t.Errorf("%s: %v, want a 400 %s", name, err, tt.code)
			}
		}
		if n := len(w.events(audit.TokenIssued)); n != issued {
			t.Errorf("%d tokens, %d events", issued, n)
		}
		if n := len(w.events(audit.TokenRefused)); n != refused {
			t.Errorf("%d refusals, %d events", refused, n)
		}
		if n := len(w.counted()); n != 0 {
			t.Errorf("%d counted events beside them", n)
		}
	})
}

func TestDefaultResourceServerIsTakenWhenNoneIsAskedFor(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.changeAccount(func(a *identity.ServiceAccount) { a.DefaultResourceServer = w.api.ID })
		got, err := w.endpoint.Issue(t.Context(), w.request("resource", ""))
		w.must(err)
		claims, err := w.checker.Verify(t.Context(), got.AccessToken)
		w.must(err)
		if claims.Audience != testAPI {
			t.Errorf("the token is for %s", claims.Audience)
		}
	})
}

func TestRoleWithAnEndDateDoesNotOutliveItInAToken(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.assign(w.role("payer", "invoices:pay"), w.clock.Now().Add(5*time.Minute))
		for scope, want := range map[string]int64{"invoices:pay": 300, "invoices:read": 900, "": 300} {
			got, err := w.endpoint.Issue(t.Context(), w.request("scope", scope))
			w.must(err)
			if got.ExpiresIn != want {
				t.Errorf("scope %q lives %d s, want %d", scope, got.ExpiresIn, want)
			}
		}
		w.clock.Advance(5 * time.Minute)
		if _, err := w.endpoint.Issue(t.Context(), w.request("scope", "invoices:pay")); !fault.Is(err, fault.CodeInvalidScope) {
			t.Errorf("after its end the role still gives: %v", err)
		}
	})
}

func TestConcurrentRequestsLeaveOneEventEach(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		const n = 40
		ids := make([]string, n)
		var group sync.WaitGroup
		for i := range n {
			group.Go(func() {
				got, err := w.endpoint.Issue(t.Context(), w.request())
				if err != nil {
					t.Error(err)
					return
				}
				ids[i] = got.TokenID
			})
		}
		group.Wait()
		recorded := map[string]int{}
		for _, e := range w.events(audit.TokenIssued) {
			recorded[e.TokenID]++
		}
		for _, id := range ids {
			if recorded[id] != 1 {
				t.Errorf("token %q has %d events", id, recorded[id])
			}
		}
		if len(recorded) != n {
			t.Errorf("%d tokens, %d on record", n, len(recorded))
		}
	})
}

// The grant's own part costs nothing here, so that this is the pipeline with
// signature and commit; the profile tells them apart.
func BenchmarkIssue(b *testing.B) {
	w := newWorld(b, testkit.SQLite(b))
	r := w.request()
	b.ReportAllocs()
	for b.Loop() {
		w.clock.Advance(limit.Window / testRate) // so that the quota suffices
		if _, err := w.endpoint.Issue(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	w := newWorld(b, testkit.SQLite(b))
	r := w.request()
	b.ReportAllocs()
	for b.Loop() {
		a := Attempt{Request: r, snapshot: w.store.Snapshot()}
		if _, err := w.endpoint.decide(b.Context(), &a); err != nil {
			b.Fatal(err)
		}
	}
}
