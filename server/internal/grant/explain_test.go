package grant

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
	"github.com/marque-id/marque/server/internal/token"
)

func TestGrantedIsExplainedAsTheTokenWouldBe(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.changeAccount(func(a *identity.ServiceAccount) { a.ExpiresAt = w.clock.Now().Add(10 * time.Minute) })
		for _, scope := range []string{"", "invoices:read"} {
			got, err := w.endpoint.Explain(t.Context(), w.question(func(q *Question) { q.Scope = scope }))
			w.must(err)
			issued, err := w.endpoint.Issue(t.Context(), w.request("scope", scope))
			w.must(err)
			if !got.Granted || got.Rule != "" || got.Told != "" || got.Audience != testAPI || got.Scope != issued.Scope ||
				int64(got.ExpiresIn.Seconds()) != issued.ExpiresIn || !cmp.Equal(got.Roles, []string{"clerk"}) {
				t.Errorf("%q: %+v, issued %+v", scope, got, issued)
			}
			for _, c := range got.Checks {
				want := Passed
				if c.Rule == "no_credentials" || c.Rule == "malformed_secret" || c.Rule == "malformed_api_key" || c.Rule == "unknown_api_key" {
					want = NotReached
				}
				if c.Outcome != want {
					t.Errorf("%+v, want %s", c, want)
				}
			}
		}
	})
}

// A question that is asked many times leaves everything as it was.
func TestAskingTakesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		for n := range 200 {
			q := w.question()
			if n%2 == 1 {
				q.Scope = "invoices:pay"
			}
			got, err := w.endpoint.Explain(t.Context(), q)
			if err != nil || got.Granted != (n%2 == 0) {
				t.Fatalf("%+v, %v", got, err)
			}
		}
		if n := len(w.events(audit.TokenIssued)) + len(w.events(audit.TokenRefused)) + len(w.counted()); n != 0 {
			t.Errorf("%d events", n)
		}
		r := w.request()
		_, err := w.endpoint.Issue(t.Context(), r)
		w.must(err)
		if r.Standing.Remaining != testRate-1 {
			t.Errorf("%d of %d tokens are left after one", r.Standing.Remaining, testRate)
		}
		used := func() (last time.Time) {
			w.must(w.store.View(t.Context(), func(r *store.Reader) error {
				a, err := r.ServiceAccount(t.Context(), w.id)
				last = a.LastUsedAt
				return err
			}))
			return last
		}
		if last := used(); !last.IsZero() {
			t.Errorf("asking counted as a use at %s", last)
		}
	})
}

func TestWithoutAnAddressNetworksAreNotLookedAt(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.changeAccount(func(a *identity.ServiceAccount) {
			a.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		})
		got, err := w.endpoint.Explain(t.Context(), w.question(func(q *Question) { q.Address = netip.Addr{} }))
		w.must(err)
		if !got.Granted {
			t.Errorf("%+v", got)
		}
		for _, c := range got.Checks {
			switch c.Rule {
			case reasonThrottled:
				if c.Outcome != NotReached || c.Detail != "The question names no address." {
					t.Errorf("%+v", c)
				}
			case reasonNetwork:
				if c.Outcome != NotReached || !strings.Contains(c.Detail, "10.0.0.0/8") {
					t.Errorf("%+v", c)
				}
			}
		}
		// The account itself still has its networks.
		if _, err := w.endpoint.Issue(t.Context(), w.request()); !fault.Is(err, fault.CodeInvalidClient) {
			t.Errorf("from elsewhere: %v", err)
		}
	})
}

func TestRefusalComesWithEvidence(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		detail := func(rule string, change ...func(*Question)) string {
			t.Helper()
			got, err := w.endpoint.Explain(t.Context(), w.question(change...))
			w.must(err)
			if got.Rule != rule {
				t.Errorf("%+v, want %s", got, rule)
			}
			return got.Detail
		}
		contains := func(text string, words ...string) {
			t.Helper()
			for _, word := range words {
				if !strings.Contains(text, word) {
					t.Errorf("%q does not tell %q", text, word)
				}
			}
		}
		contains(detail(ruleScopeNotGranted, func(q *Question) { q.Scope = "invoices:read invoices:pay x" }), "Not given: invoices:pay, x.")
		contains(detail(ruleNothingGranted, func(q *Question) { q.Resource = closedAPI }), closedAPI)
		contains(detail(ruleResourceUnknown, func(q *Question) { q.Resource = "https://nobody.example" }), `"https://nobody.example"`)
		contains(detail("wrong_secret", func(q *Question) { q.CredentialID = "sec_01jzt3v0q8n4m6x2c9k7b5h1d0" }), "sec_01jzt3v0q8n4m6x2c9k7b5h1d0")

		w.changeAccount(func(a *identity.ServiceAccount) {
			a.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
		})
		contains(detail(reasonNetwork), "192.0.2.10 is not in 10.0.0.0/8, 2001:db8::/32.")

		w.clock.Advance(time.Second)
		requestID := identity.NewID(identity.PrefixRequest, w.clock.Now())
		w.must(w.store.InTx(t.Context(), func(tx *store.Tx) error {
			a, err := tx.ServiceAccount(t.Context(), w.id)
			if err != nil {
				return err
			}
			a.Status = identity.StatusDisabled
			tx.Audit(audit.Event{Type: audit.AccountDisabled, Outcome: audit.Success, Actor: "sa_operator", AccountID: w.id, RequestID: requestID})
			return tx.UpdateServiceAccount(t.Context(), a)
		}))
		contains(detail(reasonDisabled), "2026-11-02T15:04:06Z", "sa_operator", requestID)
		w.clock.Advance(time.Second)
		w.changeAccount(func(a *identity.ServiceAccount) { a.Description = "changed after it was disabled" })
		contains(detail(reasonDisabled), "last changed at 2026-11-02T15:04:07Z")

		ended := w.clock.Now()
		w.changeAccount(func(a *identity.ServiceAccount) { a.Status, a.ExpiresAt = identity.StatusActive, ended })
		contains(detail(reasonExpired), "The account ended at 2026-11-02T15:04:07Z.")

		w.changeAccount(func(a *identity.ServiceAccount) { a.ExpiresAt, a.AllowedNetworks = time.Time{}, nil })
		other, _ := w.newSecret(w.id)
		for _, id := range []string{w.credID, other} {
			w.change(audit.ClientSecretRotated, func(ctx context.Context, tx *store.Tx) error {
				return tx.UpdateClientSecretExpiry(ctx, w.id, id, ended)
			})
		}
		contains(detail("credential_expired"), "0 of 2 credential(s) are live.")
		contains(detail("credential_expired", func(q *Question) { q.CredentialID = other }), "The credential "+other+" ended at")

		w.change(audit.AccountDeleted, func(ctx context.Context, tx *store.Tx) error {
			a, err := tx.ServiceAccount(ctx, w.id)
			if err != nil {
				return err
			}
			return tx.DeleteServiceAccount(ctx, a)
		})
		contains(detail("unknown_client"), `"agent" was deleted at 2026-11-02T15:04:07Z`)
	})
}

func TestARoleThatEndedIsNamed(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		id := w.account("temp")
		w.newSecret(id)
		role := w.role("until-noon", "invoices:read")
		w.change(audit.RoleAssigned, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Assign(ctx, &identity.Assignment{ServiceAccountID: id, RoleID: role, ExpiresAt: w.clock.Now().Add(time.Minute)})
			return err
		})
		q := w.question(func(q *Question) { q.AccountID = id })
		if got, err := w.endpoint.Explain(t.Context(), q); err != nil || !got.Granted || got.ExpiresIn != time.Minute {
			t.Errorf("%+v, %v", got, err)
		}
		w.clock.Advance(time.Minute)
		got, err := w.endpoint.Explain(t.Context(), q)
		w.must(err)
		if got.Rule != ruleNothingGranted || !strings.Contains(got.Detail, `The role "until-noon" ended at 2026-11-02T15:05:05Z.`) {
			t.Errorf("%+v", got)
		}
	})
}

func TestACredentialThatIsNamedIsTheOneThatCounts(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		short, _ := w.newSecret(w.id)
		w.change(audit.ClientSecretRotated, func(ctx context.Context, tx *store.Tx) error {
			return tx.UpdateClientSecretExpiry(ctx, w.id, short, w.clock.Now().Add(time.Minute))
		})
		for id, want := range map[string]time.Duration{"": token.DefaultLifetime, w.credID: token.DefaultLifetime, short: time.Minute} {
			got, err := w.endpoint.Explain(t.Context(), w.question(func(q *Question) { q.CredentialID = id }))
			if err != nil || got.ExpiresIn != want {
				t.Errorf("by %q: %+v, %v", id, got, err)
			}
		}
	})
}

func TestSuccessIsExplainedToo(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		r := w.request()
		_, err := w.endpoint.Issue(t.Context(), r)
		w.must(err)
		got, err := w.endpoint.ExplainRequest(t.Context(), r.RequestID)
		w.must(err)
		if !got.Granted || got.Rule != "" || got.Told != "" || got.Detail != audit.TokenIssued.Doc() || got.Event.Event.Type != audit.TokenIssued {
			t.Errorf("%+v", got)
		}
		for _, id := range []string{"", "req_1", w.id} {
			if _, err := w.endpoint.ExplainRequest(t.Context(), id); !fault.Is(err, fault.CodeInvalidRequest) {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
}

// Two nodes write a chain each; either of them explains what the other has refused.
func TestRefusalOfAnotherNodeIsExplainedHere(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	here := newWorld(t, url)
	there := here.node(url)
	here.clock.Advance(time.Minute)
	r := here.request("scope", "invoices:pay")
	if _, err := there.Issue(t.Context(), r); !fault.Is(err, fault.CodeInvalidScope) {
		t.Fatal(err)
	}
	got, err := here.endpoint.ExplainRequest(t.Context(), r.RequestID)
	here.must(err)
	if got.Granted || got.Rule != ruleScopeNotGranted || got.Event.Chain == here.store.AuditChain() {
		t.Errorf("%+v", got)
	}
}

// node is the endpoint of another node on the same database.
func (w *world) node(url string) *Endpoint {
	w.t.Helper()
	st := testkit.Open(w.t, url, w.clock)
	issuer, err := token.NewIssuer(token.Config{Issuer: "https://marque.example", Store: st, Keys: w.keys, Clock: w.clock})
	w.must(err)
	e, err := New(Config{
		Store: st, Authenticator: clientauth.New(st, w.keys), Issuer: issuer,
		Failures: limit.NewFailures(limit.Options{Clock: w.clock}), Refusals: limit.NewRefusals(w.clock),
		Rates: limit.NewRates(w.clock, testRate), Clock: w.clock, Grants: []Grant{ClientCredentials()},
	})
	w.must(err)
	return e
}

// The right to call the management API is used by calling it, all others by
// getting a token with them.
func TestTokensAndCallsUsePermissions(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		w.assign(identity.RoleAuditorID, time.Time{})
		_, err := w.endpoint.Issue(t.Context(), w.request("scope", "invoices:read"))
		w.must(err)
		_, err = w.endpoint.Issue(t.Context(), w.request("resource", identity.ManagementIdentifier))
		w.must(err)
		_, err = w.endpoint.Issue(t.Context(), w.request("scope", "invoices:write invoices:pay")) // refused
		if !fault.Is(err, fault.CodeInvalidScope) {
			t.Error(err)
		}
		w.endpoint.Used(&token.Caller{ClientID: w.id}, identity.PermRolesRead)
		w.must(w.store.Close(t.Context()))
		again := testkit.Open(t, url, w.clock)
		used := map[string]time.Time{}
		w.must(again.View(t.Context(), func(r *store.Reader) error {
			all, _, err := r.PermissionsInEffect(t.Context(), w.id, store.EffectiveFilter{}, w.clock.Now(), store.EffectivePosition{}, 100)
			for _, p := range all {
				if !p.LastUsedAt.IsZero() {
					used[p.Permission] = p.LastUsedAt
				}
			}
			return err
		}))
		hour := w.clock.Now().Truncate(time.Hour)
		if diff := cmp.Diff(map[string]time.Time{"invoices:read": hour, identity.PermRolesRead: hour}, used); diff != "" {
			t.Error(diff)
		}
		w.must(again.Check(t.Context()))
	})
}
