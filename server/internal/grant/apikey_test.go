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
	"github.com/marque-id/marque/server/internal/store"
)

func (w *world) login(params ...string) (*Response, error) {
	w.t.Helper()
	return w.endpoint.Login(w.t.Context(), w.key, w.request(params...))
}

func TestLoginIssuesWhatTheKeyGives(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.newKey(func(k *identity.APIKey) {
			k.Restricted, k.ExpiresAt = true, w.clock.Now().Add(time.Minute)
			k.Permissions = []identity.RolePermission{{ResourceServerID: w.api.ID, Permission: "invoices:pay"}, {ResourceServerID: w.api.ID, Permission: "invoices:read"}}
		})
		r, err := w.login()
		w.must(err)
		claims, err := w.checker.Verify(t.Context(), r.AccessToken)
		w.must(err)
		// invoices:pay is what the key may give and the account does not hold.
		if r.Scope != "invoices:read" || claims.Scope != "invoices:read" || claims.CredentialID != w.keyID || r.ExpiresIn != 60 || len(claims.Roles) != 0 {
			t.Errorf("%+v %+v", r, claims)
		}
		e := w.events(audit.TokenIssued)
		if len(e) != 1 || e[0].CredentialID != w.keyID || e[0].Scope != "invoices:read" {
			t.Errorf("on record: %+v", e)
		}

		w.newKey()
		if r, err = w.login(); err != nil || r.Scope != "invoices:read invoices:write" {
			t.Fatalf("%+v, %v", r, err)
		}
		claims, err = w.checker.Verify(t.Context(), r.AccessToken)
		w.must(err)
		if !cmp.Equal(claims.Roles, []string{"clerk"}) {
			t.Errorf("roles %v", claims.Roles)
		}
	})
}

// A role is named only where all that it gives is left: an API that goes by the
// names of roles must not take a key of few permissions for the whole account.
func TestARestrictedKeyNamesOnlyRolesThatAreWhole(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.assign(w.role("reader", "invoices:read"), time.Time{})
		w.assign(w.role("over", "invoices:read"), w.clock.Now().Add(time.Second))
		w.clock.Advance(time.Second)
		w.newKey(func(k *identity.APIKey) {
			k.Restricted, k.Permissions = true, []identity.RolePermission{{ResourceServerID: w.api.ID, Permission: "invoices:read"}}
		})
		r, err := w.login()
		w.must(err)
		claims, err := w.checker.Verify(t.Context(), r.AccessToken)
		w.must(err)
		if diff := cmp.Diff([]string{"reader"}, claims.Roles); diff != "" {
			t.Error(diff)
		}
	})
}

// A key opens the login and nothing else, and nothing else opens the login.
func TestNoGrantTypeLeadsToALoginNorALoginToAGrant(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.newKey()
		for _, grantType := range []string{"api_key", "login", "tokens.login"} {
			if _, err := w.endpoint.Issue(t.Context(), w.request("grant_type", grantType)); !fault.Is(err, fault.CodeUnsupportedGrantType) {
				t.Errorf("%s: %v", grantType, err)
			}
		}
		for _, method := range []clientauth.Method{clientauth.MethodForm, clientauth.MethodBasic, clientauth.MethodAPIKey} {
			r := w.request().as(w.id, w.key)
			r.Presented.Method = method
			if _, err := w.endpoint.Issue(t.Context(), r); !fault.Is(err, fault.CodeInvalidClient) {
				t.Errorf("a key as %s: %v", method, err)
			}
			if _, err := w.endpoint.SignIn(t.Context(), r.Presented, r.Meta); !fault.Is(err, fault.CodeInvalidClient) {
				t.Errorf("a key as %s elsewhere: %v", method, err)
			}
		}
		if _, err := w.endpoint.Login(t.Context(), w.secret, w.request()); !fault.Is(err, fault.CodeMalformedAPIKey) {
			t.Errorf("a secret as a key: %v", err)
		}
		// What a token request says of its grant means nothing here.
		if r, err := w.login("grant_type", "password"); err != nil || r.Scope == "" {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestWrongKeysUseUpTheBudgetOfTheirAddressAndTyposDoNot(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.newKey()
		for range 200 {
			if _, err := w.endpoint.Login(t.Context(), identity.NewSecretValue("mqk_typo"), w.request()); !fault.Is(err, fault.CodeMalformedAPIKey) {
				t.Fatal(err)
			}
		}
		for range 50 {
			if _, err := w.endpoint.Login(t.Context(), identity.GenerateAPIKey(), w.request()); !fault.Is(err, fault.CodeInvalidAPIKey) {
				t.Fatal(err)
			}
		}
		if _, err := w.login(); !fault.Is(err, fault.CodeRateLimited) {
			t.Errorf("the next one: %v", err)
		}
		if _, err := w.endpoint.Login(t.Context(), w.key, w.request().from("203.0.113.9")); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
	})
}

func TestADecisionByAKeyThatHasJustChangedIsMadeAnew(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.newKey()
		changes := map[string]struct {
			change func(ctx context.Context, tx *store.Tx, k *identity.APIKey) error
			want   fault.Code
		}{
			"narrowed": {func(ctx context.Context, tx *store.Tx, k *identity.APIKey) error {
				k.Restricted = true
				return tx.UpdateAPIKey(ctx, k)
			}, fault.CodeInvalidTarget},
			"its networks": {func(ctx context.Context, tx *store.Tx, k *identity.APIKey) error {
				k.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
				return tx.UpdateAPIKey(ctx, k)
			}, fault.CodeInvalidAPIKey},
			"deleted": {func(ctx context.Context, tx *store.Tx, k *identity.APIKey) error {
				return tx.DeleteAPIKey(ctx, k)
			}, fault.CodeInvalidAPIKey},
		}
		for name, c := range changes {
			w.newKey()
			r, err := w.login()
			w.must(err)
			w.change(audit.APIKeyUpdated, func(ctx context.Context, tx *store.Tx) error {
				k, err := tx.APIKey(ctx, w.id, w.keyID)
				if err != nil {
					return err
				}
				return c.change(ctx, tx, k)
			})
			if _, err := w.login(); !fault.Is(err, c.want) {
				t.Errorf("%s: %v, want %s", name, err, c.want)
			}
			_, err = w.checker.Verify(t.Context(), r.AccessToken)
			if dead := fault.Is(err, fault.CodeInvalidToken); dead != (name == "deleted") {
				t.Errorf("%s: its token: %v", name, err)
			}
		}
	})
}

func TestAnExplanationKnowsKeys(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.newKey(func(k *identity.APIKey) {
			k.Restricted, k.Permissions = true, []identity.RolePermission{{ResourceServerID: w.api.ID, Permission: "invoices:read"}}
			k.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}
		})
		got, err := w.endpoint.Explain(t.Context(), w.question(func(q *Question) { q.CredentialID = w.keyID }))
		w.must(err)
		if !got.Granted || got.Scope != "invoices:read" || len(got.Roles) != 0 {
			t.Errorf("%+v", got)
		}
		details := map[string]string{}
		for _, c := range got.Checks {
			details[c.Rule] = c.Detail
		}
		for rule, want := range map[string]string{
			reasonCredentialNetwork: "192.0.2.10 is in 192.0.2.0/28.",
			reasonKind:              "The account may sign in by any kind.",
			ruleNothingLeft:         "It gives 1 things at " + testAPI + ".",
			"wrong_secret":          "The question is about an API key.",
		} {
			if details[rule] != want {
				t.Errorf("%s: %q, want %q", rule, details[rule], want)
			}
		}
		// Without a credential in the question it is one that is allowed.
		w.changeAccount(func(a *identity.ServiceAccount) {
			a.AllowedCredentials = []identity.CredentialKind{identity.KindAPIKey}
		})
		got, err = w.endpoint.Explain(t.Context(), w.question(func(q *Question) { q.Address = netip.Addr{} }))
		w.must(err)
		if !got.Granted || got.Scope != "invoices:read" {
			t.Errorf("%+v", got)
		}
		for _, c := range got.Checks {
			if c.Rule == reasonCredentialNetwork && (c.Outcome != NotReached || !strings.Contains(c.Detail, "192.0.2.0/28")) {
				t.Errorf("%+v", c)
			}
		}
	})
}
