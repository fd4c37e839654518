package grant

import (
	"context"
	"testing"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// meddling is a grant whose own part is a place for a test to change the world
// between the decision and its record. No real grant writes anything.
func meddling(fn func(ctx context.Context, a *Attempt)) Grant {
	return Grant{Type: "meddling", Authorize: func(ctx context.Context, a *Attempt) error {
		fn(ctx, a)
		return nil
	}}
}

func onEachDatabaseMeddling(t *testing.T, fn func(w *world) func(context.Context, *Attempt), check func(t *testing.T, w *world)) {
	t.Helper()
	testkit.Databases(t, func(t *testing.T, url string) {
		var hook func(context.Context, *Attempt)
		w := newWorld(t, url, meddling(func(ctx context.Context, a *Attempt) { hook(ctx, a) }))
		hook = fn(w)
		check(t, w)
	})
}

func TestDecisionOnWhatHasChangedIsMadeAnew(t *testing.T) {
	t.Parallel()
	onEachDatabaseMeddling(t, func(w *world) func(context.Context, *Attempt) {
		first := true
		return func(context.Context, *Attempt) {
			if first {
				first = false
				w.changeAccount(func(a *identity.ServiceAccount) { a.Status = identity.StatusDisabled })
			}
		}
	}, func(t *testing.T, w *world) {
		got, err := w.endpoint.Issue(t.Context(), w.request("grant_type", "meddling"))
		if !fault.Is(err, fault.CodeInvalidClient) || got != nil {
			t.Errorf("the account was disabled before the record, yet: %+v, %v", got, err)
		}
		if n := len(w.events(audit.TokenIssued)); n != 0 {
			t.Errorf("%d tokens on record", n)
		}
		if events := w.events(audit.TokenRefused); len(events) != 1 || events[0].Reason != reasonDisabled {
			t.Errorf("on record: %+v", events)
		}
	})
}

func TestHarmlessChangeOnlyCostsARerun(t *testing.T) {
	t.Parallel()
	onEachDatabaseMeddling(t, func(w *world) func(context.Context, *Attempt) {
		first := true
		return func(context.Context, *Attempt) {
			if first {
				first = false
				w.changeAccount(func(a *identity.ServiceAccount) { a.Description = "changed" })
			}
		}
	}, func(t *testing.T, w *world) {
		_, err := w.endpoint.Issue(t.Context(), w.request("grant_type", "meddling"))
		w.must(err)
		if n := len(w.events(audit.TokenIssued)); n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestAccountThatKeepsChangingIsToldToComeBack(t *testing.T) {
	t.Parallel()
	onEachDatabaseMeddling(t, func(w *world) func(context.Context, *Attempt) {
		return func(context.Context, *Attempt) {
			w.changeAccount(func(a *identity.ServiceAccount) { a.Description += "x" })
		}
	}, func(t *testing.T, w *world) {
		got, err := w.endpoint.Issue(t.Context(), w.request("grant_type", "meddling"))
		if f := fault.From(err); f == nil || f.Kind != fault.KindUnavailable || f.RetryAfter <= 0 || got != nil {
			t.Errorf("%+v, %v", got, err)
		}
		var account *identity.ServiceAccount
		w.must(w.store.View(t.Context(), func(r *store.Reader) (err error) {
			account, err = r.ServiceAccount(t.Context(), w.id)
			return err
		}))
		if account.Description != "xxxx" {
			t.Errorf("decided %d times", len(account.Description))
		}
		if n := len(w.events(audit.TokenIssued)); n != 0 {
			t.Errorf("%d tokens on record", n)
		}
	})
}

func TestChangeOfAnotherAccountDisturbsNobody(t *testing.T) {
	t.Parallel()
	onEachDatabaseMeddling(t, func(w *world) func(context.Context, *Attempt) {
		return func(context.Context, *Attempt) { w.account("newcomer") }
	}, func(t *testing.T, w *world) {
		_, err := w.endpoint.Issue(t.Context(), w.request("grant_type", "meddling"))
		w.must(err) // a rerun would fail on the name, which is taken by then
	})
}

// ours reports whether err is a failure on our side.
func ours(err error) bool {
	f := fault.From(err)
	return f != nil && (f.Kind == fault.KindUnavailable || f.Kind == fault.KindInternal)
}

func TestNoTokenWithoutARecord(t *testing.T) {
	t.Parallel()
	onEachDatabaseMeddling(t, func(w *world) func(context.Context, *Attempt) {
		return func(ctx context.Context, _ *Attempt) { w.must(w.store.Close(ctx)) }
	}, func(t *testing.T, w *world) {
		_, err := w.endpoint.Issue(t.Context(), w.request()) // everything is in memory from here on
		w.must(err)
		got, err := w.endpoint.Issue(t.Context(), w.request("grant_type", "meddling"))
		if !ours(err) || got != nil {
			t.Errorf("without a database: %+v, %v", got, err)
		}
	})
}

func TestCallerThatLeavesBeforeTheCommitLeavesWithoutAToken(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	onEachDatabaseMeddling(t, func(*world) func(context.Context, *Attempt) {
		return func(context.Context, *Attempt) { cancel() }
	}, func(t *testing.T, w *world) {
		_, err := w.endpoint.Issue(t.Context(), w.request())
		w.must(err)
		got, err := w.endpoint.Issue(ctx, w.request("grant_type", "meddling"))
		if !fault.Is(err, fault.CodeUnavailable) || got != nil {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestRefusalWithoutARecordIsNoRefusal(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		if _, err := w.endpoint.Issue(t.Context(), w.request()); err != nil { // everything is in memory
			t.Fatal(err)
		}
		w.must(w.store.Close(t.Context()))
		_, err := w.endpoint.Issue(t.Context(), w.request("scope", "invoices:pay"))
		if !ours(err) {
			t.Errorf("refused with %v, which is not on record", err)
		}
	})
}

func TestEndpointRefusesToBeIncomplete(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}); err == nil {
		t.Error("made of nothing")
	}
	onEachDatabase(t, func(t *testing.T, w *world) {
		parts := Config{
			Store: w.store, Authenticator: w.endpoint.auth, Issuer: w.endpoint.issuer,
			Failures: w.endpoint.failures, Refusals: w.refusals, Rates: w.endpoint.rates, Clock: w.clock,
			Grants: []Grant{ClientCredentials()},
		}
		if _, err := New(parts); err != nil {
			t.Errorf("whole: %v", err)
		}
		for name, grants := range map[string][]Grant{
			"no grants":         nil,
			"a grant twice":     {ClientCredentials(), ClientCredentials()},
			"without a type":    {{Authorize: ClientCredentials().Authorize}},
			"without Authorize": {{Type: "x"}},
		} {
			parts.Grants = grants
			if _, err := New(parts); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	})
}
