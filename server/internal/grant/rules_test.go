package grant

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestRulesAreNamedOnceAndSaid(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	stage := 0
	for _, r := range Rules() {
		if seen[r.Name] || r.Says == "" || !strings.HasSuffix(r.Says, ".") || r.Told == "" {
			t.Errorf("%+v", r)
		}
		seen[r.Name] = true
		if r.stage != 0 && r.stage < stage {
			t.Errorf("%s stands behind a later stage", r.Name)
		}
		stage = max(stage, r.stage)
	}
	// The counted refusals keep so many words apart; all others would be one.
	refusals := limit.NewRefusals(testkit.Clock(t))
	for name := range seen {
		refusals.Single("", netip.Addr{}, name)
	}
	if err := refusals.Flush(t.Context(), func(_ context.Context, e audit.Event) error {
		if len(e.Details) != len(seen) {
			t.Errorf("%d rules are counted as %d: %v", len(seen), len(e.Details), e.Details)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Every word that the code has for a refusal is a rule.
func TestNoReasonIsWithoutARule(t *testing.T) {
	t.Parallel()
	found := 0
	for _, pattern := range []string{"*.go", "../clientauth/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				if !ok {
					return true
				}
				for i, id := range spec.Names {
					lower := strings.ToLower(id.Name)
					if !strings.HasPrefix(lower, "reason") && !strings.HasPrefix(lower, "rule") || i >= len(spec.Values) {
						continue
					}
					literal, ok := spec.Values[i].(*ast.BasicLit)
					if !ok {
						continue
					}
					word, err := strconv.Unquote(literal.Value)
					if err != nil {
						t.Fatal(err)
					}
					found++
					if _, ok := ruleOf(word); !ok {
						t.Errorf("%s: %s = %q is no rule", name, id.Name, word)
					}
				}
				return true
			})
		}
	}
	if found < 18 {
		t.Errorf("only %d reasons were found", found)
	}
}

// refusing makes the world such that a token request is refused by a rule.
type refusing struct {
	rule    string
	prepare func(w *world)
	request func(w *world) *Request
	// login makes it by this API key instead.
	login func(w *world) identity.Secret
	// ask is the question that means the same; nil where a question cannot.
	ask func(w *world) Question
	// counted refusals are not recorded one by one.
	counted bool
}

func (w *world) question(change ...func(*Question)) Question {
	q := Question{AccountID: w.id, Resource: testAPI, Address: w.home}
	for _, fn := range change {
		fn(&q)
	}
	return q
}

func refusals() []refusing {
	ask := func(change ...func(*Question)) func(*world) Question {
		return func(w *world) Question { return w.question(change...) }
	}
	request := func(params ...string) func(*world) *Request {
		return func(w *world) *Request { return w.request(params...) }
	}
	account := func(change func(w *world, a *identity.ServiceAccount)) func(*world) {
		return func(w *world) { w.changeAccount(func(a *identity.ServiceAccount) { change(w, a) }) }
	}
	key := func(w *world) identity.Secret { return w.key }
	askKey := func(change ...func(*Question)) func(*world) Question {
		return func(w *world) Question {
			return w.question(append(change, func(q *Question) { q.CredentialID = w.keyID })...)
		}
	}
	var long []string
	for i := range 64 {
		long = append(long, fmt.Sprintf("%s:%d", strings.Repeat("x", 110), 100+i))
	}
	return []refusing{
		{rule: reasonThrottled, counted: true, prepare: func(w *world) {
			for range 10 {
				_, err := w.endpoint.Issue(w.t.Context(), w.request().as(w.id, identity.GenerateClientSecret()))
				if !fault.Is(err, fault.CodeInvalidClient) {
					w.t.Fatal(err)
				}
			}
		}, ask: ask()},
		{rule: "no_credentials", counted: true, request: func(w *world) *Request {
			return &Request{Params: w.request().Params, Meta: w.request().Meta}
		}},
		{rule: "unknown_client", counted: true, prepare: func(w *world) {
			w.change(audit.AccountDeleted, func(ctx context.Context, tx *store.Tx) error {
				a, err := tx.ServiceAccount(ctx, w.id)
				if err != nil {
					return err
				}
				return tx.DeleteServiceAccount(ctx, a)
			})
		}, ask: ask()},
		{rule: "malformed_secret", request: func(w *world) *Request {
			return w.request().as(w.id, identity.NewSecretValue("hunter2"))
		}},
		{rule: "wrong_secret", prepare: func(w *world) {
			w.change(audit.ClientSecretDeleted, func(ctx context.Context, tx *store.Tx) error {
				return tx.DeleteClientSecret(ctx, w.id, w.credID)
			})
		}, ask: ask(func(q *Question) { q.CredentialID = "sec_01jzt3v0q8n4m6x2c9k7b5h1d0" })},
		{rule: "credential_expired", prepare: func(w *world) {
			w.change(audit.ClientSecretRotated, func(ctx context.Context, tx *store.Tx) error {
				return tx.UpdateClientSecretExpiry(ctx, w.id, w.credID, w.clock.Now())
			})
		}, ask: ask()},
		{rule: reasonDisabled, prepare: account(func(_ *world, a *identity.ServiceAccount) { a.Status = identity.StatusDisabled }), ask: ask()},
		{rule: reasonExpired, prepare: account(func(w *world, a *identity.ServiceAccount) { a.ExpiresAt = w.clock.Now() }), ask: ask()},
		{rule: reasonNetwork, prepare: account(func(_ *world, a *identity.ServiceAccount) {
			a.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		}), ask: ask()},
		{rule: "malformed_api_key", counted: true, login: func(w *world) identity.Secret { return w.secret }},
		{rule: "unknown_api_key", counted: true, login: func(*world) identity.Secret { return identity.GenerateAPIKey() },
			ask: ask(func(q *Question) { q.CredentialID = "key_01jzt3v0q8n4m6x2c9k7b5h1d0" })},
		{rule: reasonKind, prepare: account(func(_ *world, a *identity.ServiceAccount) {
			a.AllowedCredentials = []identity.CredentialKind{identity.KindAPIKey}
		}), ask: ask()},
		{rule: reasonCredentialNetwork, prepare: func(w *world) {
			w.newKey(func(k *identity.APIKey) { k.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
		}, login: key, ask: askKey()},
		{rule: ruleNothingLeft, prepare: func(w *world) {
			w.newKey(func(k *identity.APIKey) { k.Restricted = true })
		}, login: key, ask: askKey()},
		{rule: ruleScopeOutside, prepare: func(w *world) {
			w.newKey(func(k *identity.APIKey) {
				k.Restricted, k.Permissions = true, []identity.RolePermission{{ResourceServerID: w.api.ID, Permission: "invoices:read"}}
			})
		}, login: key, request: request("scope", "invoices:write"), ask: askKey(func(q *Question) { q.Scope = "invoices:write" })},
		{rule: reasonRate, prepare: func(w *world) {
			w.changeAccount(func(a *identity.ServiceAccount) { a.TokenRateLimit = 1 })
			_, err := w.endpoint.Issue(w.t.Context(), w.request())
			w.must(err)
		}, ask: ask()},
		{rule: "invalid_request", request: request("audience", closedAPI)},
		{rule: "unsupported_grant_type", request: request("grant_type", "password")},
		{rule: ruleResourceMissing, request: request("resource", ""), ask: ask(func(q *Question) { q.Resource = "" })},
		{rule: ruleResourceMalformed, request: request("resource", "/relative"), ask: ask(func(q *Question) { q.Resource = "/relative" })},
		{rule: ruleResourceUnknown, request: request("resource", "https://nobody.example"), ask: ask(func(q *Question) { q.Resource = "https://nobody.example" })},
		{rule: ruleNothingGranted, request: request("resource", closedAPI), ask: ask(func(q *Question) { q.Resource = closedAPI })},
		{rule: ruleScopeMalformed, request: request("scope", "  "), ask: ask(func(q *Question) { q.Scope = "  " })},
		{rule: ruleScopeNotGranted, request: request("scope", "invoices:read invoices:pay"), ask: ask(func(q *Question) { q.Scope = "invoices:read invoices:pay" })},
		{rule: ruleTooManyScopes, prepare: func(w *world) { w.grantMany("big", append(slices.Clone(long), "one:more")) }, request: request("resource", "https://big.example"),
			ask: ask(func(q *Question) { q.Resource = "https://big.example" })},
		{rule: ruleTooLarge, prepare: func(w *world) { w.grantMany("big", long) }, request: request("resource", "https://big.example"),
			ask: ask(func(q *Question) { q.Resource = "https://big.example" })},
	}
}

// grantMany gives the agent all permissions of a new resource server.
func (w *world) grantMany(name string, permissions []string) {
	w.t.Helper()
	rs := identity.ResourceServer{
		ID: identity.NewID(identity.PrefixResourceServer, w.clock.Now()), Identifier: "https://" + name + ".example", Name: name, SigningAlg: "ES256",
	}
	role := identity.Role{ID: identity.NewID(identity.PrefixRole, w.clock.Now()), Name: name}
	for _, p := range permissions {
		rs.Permissions = append(rs.Permissions, identity.Permission{Name: p})
		role.Permissions = append(role.Permissions, identity.RolePermission{ResourceServerID: rs.ID, Permission: p})
	}
	w.change(audit.RoleCreated, func(ctx context.Context, tx *store.Tx) error {
		if err := tx.InsertResourceServer(ctx, &rs); err != nil {
			return err
		}
		return tx.InsertRole(ctx, &role)
	})
	w.assign(role.ID, time.Time{})
}

// Each rule refuses a real request, stands in the record by its name, and is what
// an explanation of that request and of the same question names.
func TestEveryRuleIsRecordedAndExplainedByItsName(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for _, c := range refusals() {
		tried[c.rule] = true
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			onEachDatabase(t, func(t *testing.T, w *world) { c.run(t, w) })
		})
	}
	for _, r := range Rules() {
		if r.stage != 0 && !tried[r.Name] {
			t.Errorf("no request is refused by %s", r.Name)
		}
	}
}

func (c refusing) run(t *testing.T, w *world) {
	t.Helper()
	if c.prepare != nil {
		c.prepare(w)
	}
	rule, _ := ruleOf(c.rule)
	if c.ask != nil { // first: asking takes nothing from any budget
		for range 3 {
			got, err := w.endpoint.Explain(t.Context(), c.ask(w))
			w.must(err)
			if got.Granted || got.Rule != c.rule || got.Told != rule.Told || !strings.HasPrefix(got.Detail, rule.Says) {
				t.Fatalf("the question is answered by %+v", got)
			}
			wantChecks(t, got, rule, strings.HasPrefix(c.ask(w).CredentialID, "key_"))
		}
	}
	r := w.request()
	if c.request != nil {
		r = c.request(w)
	}
	err := c.try(w, r)
	if !fault.Is(err, rule.Told) {
		t.Fatalf("the caller is told %v, want %s", err, rule.Told)
	}
	if c.counted {
		if counted := w.counted(); len(counted) != 1 || counted[0].Details[c.rule] != "1" {
			t.Errorf("counted as %+v", counted)
		}
		_, err := w.endpoint.ExplainRequest(t.Context(), r.RequestID)
		if !fault.Is(err, fault.CodeNotFound) {
			t.Errorf("a counted refusal is explained: %v", err)
		}
		return
	}
	events := w.events(audit.TokenRefused)
	if len(events) == 0 || events[len(events)-1].Reason != c.rule {
		t.Fatalf("on record: %+v", events)
	}
	got, err := w.endpoint.ExplainRequest(t.Context(), r.RequestID)
	w.must(err)
	if got.Granted || got.Rule != c.rule || got.Told != rule.Told || got.Detail != rule.Says ||
		got.Event == nil || got.Event.Event.RequestID != r.RequestID || got.Event.Event.Reason != c.rule {
		t.Errorf("the request is explained by %+v", got)
	}
}

func (c refusing) try(w *world, r *Request) error {
	if c.login != nil {
		_, err := w.endpoint.Login(w.t.Context(), c.login(w), r)
		return err
	}
	_, err := w.endpoint.Issue(w.t.Context(), r)
	return err
}

// wantChecks holds the checks against the order of the pipeline.
func wantChecks(t *testing.T, got *Explanation, failed Rule, byKey bool) {
	t.Helper()
	n := 0
	for _, r := range Rules() {
		if r.stage == 0 {
			continue
		}
		c := got.Checks[n]
		n++
		want := Passed
		switch {
		case r.Name == failed.Name:
			want = Failed
		case r.stage >= failed.stage, r.Name == "no_credentials", r.Name == "malformed_secret", r.Name == "malformed_api_key",
			r.Name == "wrong_secret" && byKey, r.Name == "unknown_api_key" && !byKey:
			want = NotReached
		}
		if c.Rule != r.Name || c.Outcome != want {
			t.Errorf("check %d is %+v, want %s %s", n, c, r.Name, want)
		}
	}
	if n != len(got.Checks) {
		t.Errorf("%d checks of %d", n, len(got.Checks))
	}
}
