package grant

import (
	"context"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/token"
)

// issues asks for a token and gives the standing that comes with the answer.
func (w *world) issues(r *Request) (limit.Standing, error) {
	w.t.Helper()
	_, err := w.endpoint.Issue(w.t.Context(), r)
	return r.Standing, err
}

func TestAnAccountGetsItsTokensAMinuteAndIsToldExactlyWhenTheNext(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		for n := range testRate {
			s, err := w.issues(w.request())
			w.must(err)
			if want := (limit.Standing{Quota: testRate, Remaining: testRate - 1 - n, Reset: time.Duration(n+1) * time.Second}); s != want {
				t.Fatalf("after %d tokens: %+v, want %+v", n+1, s, want)
			}
		}
		s, err := w.issues(w.request())
		if f := fault.From(err); f.Kind != fault.KindLimited || f.RetryAfter != time.Second || s.Wait != time.Second || s.Remaining != 0 {
			t.Errorf("one too many: %v, %+v", err, s)
		}
		// Nobody else pays for it.
		other := w.account("other")
		_, secret := w.newSecret(other)
		if _, err := w.issues(w.request().as(other, secret)); !fault.Is(err, fault.CodeInvalidTarget) {
			t.Errorf("another account: %v", err)
		}
		w.clock.Advance(time.Second - 1)
		if _, err := w.issues(w.request()); !fault.Is(err, fault.CodeRateLimited) {
			t.Errorf("before its time: %v", err)
		}
		w.clock.Advance(1)
		if _, err := w.issues(w.request()); err != nil {
			t.Errorf("at its time: %v", err)
		}

		events := w.events(audit.TokenRefused)
		if len(events) != 3 { // two too many, and the other account's target
			t.Fatalf("%d refusals on record", len(events))
		}
		if e := events[0]; e.Reason != reasonRate || e.Actor != w.id || e.AccountID != w.id || e.CredentialID != w.credID {
			t.Errorf("on record as %+v", e)
		}
	})
}

func TestAnAccountsOwnRateCountsFromItsNextRequest(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		w.changeAccount(func(a *identity.ServiceAccount) { a.TokenRateLimit = 2 })
		for range 2 {
			s, err := w.issues(w.request())
			w.must(err)
			if s.Quota != 2 {
				t.Errorf("%+v", s)
			}
		}
		if s, err := w.issues(w.request()); !fault.Is(err, fault.CodeRateLimited) || s.Wait != 30*time.Second {
			t.Errorf("%v, %+v", err, s)
		}
		w.changeAccount(func(a *identity.ServiceAccount) { a.TokenRateLimit = 0 })
		w.clock.Advance(time.Second)
		if s, err := w.issues(w.request()); err != nil || s.Quota != testRate {
			t.Errorf("back at the common rate: %v, %+v", err, s)
		}
	})
}

// Whoever cannot prove to be the account takes nothing from it, and is told
// nothing of it.
func TestOnlyAProvedClientUsesItsRateUp(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		wrong := identity.GenerateClientSecret()
		for i := range 9 {
			s, err := w.issues(w.request().as(w.id, wrong))
			if !fault.Is(err, fault.CodeInvalidClient) || s != (limit.Standing{}) {
				t.Fatalf("guess %d: %v, %+v", i, err, s)
			}
		}
		w.changeAccount(func(a *identity.ServiceAccount) { a.Status = identity.StatusDisabled })
		if s, err := w.issues(w.request()); !fault.Is(err, fault.CodeInvalidClient) || s != (limit.Standing{}) {
			t.Errorf("at the gate: %v, %+v", err, s)
		}
		w.changeAccount(func(a *identity.ServiceAccount) { a.Status = identity.StatusActive })
		if s, err := w.issues(w.request()); err != nil || s.Remaining != testRate-1 {
			t.Errorf("the first that is proved: %v, %+v", err, s)
		}
		// What fails later has cost work and a place in the record.
		if s, err := w.issues(w.request("scope", "invoices:pay")); !fault.Is(err, fault.CodeInvalidScope) || s.Remaining != testRate-2 {
			t.Errorf("a scope that is not held: %v, %+v", err, s)
		}
		// Sign-in elsewhere is not issuance.
		r := w.request()
		_, err := w.endpoint.SignIn(t.Context(), r.Presented, r.Meta)
		w.must(err)
		if s, err := w.issues(w.request()); err != nil || s.Remaining != testRate-3 {
			t.Errorf("after signing in elsewhere: %v, %+v", err, s)
		}
	})
}

func TestADecisionMadeAnewIsOneRequest(t *testing.T) {
	t.Parallel()
	onEachDatabaseMeddling(t, func(w *world) func(context.Context, *Attempt) {
		reruns := 0
		return func(context.Context, *Attempt) {
			if reruns < 2 {
				reruns++
				w.changeAccount(func(a *identity.ServiceAccount) { a.Description += "x" })
			}
		}
	}, func(t *testing.T, w *world) {
		r := w.request("grant_type", "meddling")
		if s, err := w.issues(r); err != nil || s.Remaining != testRate-1 {
			t.Errorf("%v, %+v", err, s)
		}
		if s, err := w.issues(r); err != nil || s.Remaining != testRate-2 {
			t.Errorf("the same request once more: %v, %+v", err, s)
		}
	})
}

// A flood of refused calls by somebody who is signed in: ten a minute are
// stored, the rest is a number.
func TestRefusedCallsAreRecordedSinglyAndThenCounted(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		r := w.request()
		proved, err := w.endpoint.SignIn(t.Context(), r.Presented, r.Meta)
		w.must(err)
		caller := &proved
		caller.TokenID = identity.NewID(identity.PrefixToken, w.clock.Now())
		denied := fault.InsufficientScope(identity.PermRolesWrite)
		refuse := func(caller *token.Caller, meta Meta, err error) {
			t.Helper()
			if got := w.endpoint.RefuseCall(t.Context(), caller, "roles.create", meta, err); fault.From(got).Code != fault.From(err).Code {
				t.Fatalf("answered %v", got)
			}
		}
		for range 500 {
			refuse(caller, r.Meta, denied)
		}
		refuse(caller, Meta{Address: w.home, RequestID: "x\x00y", TraceID: "<script>"}, denied)
		refuse(caller, w.request().from("203.0.113.7").Meta, fault.Limited(time.Second))
		for range 20 {
			refuse(nil, r.Meta, fault.InvalidToken())
		}
		events := w.events(audit.APIRefused)
		if len(events) != 11 {
			t.Fatalf("%d events", len(events))
		}
		e := events[0]
		if e.Outcome != audit.Refused || e.Reason != "insufficient_scope" || e.Actor != w.id || e.AccountID != w.id ||
			e.CredentialID != w.credID || e.TokenID != caller.TokenID || e.Address != w.home || e.RequestID != r.RequestID ||
			e.Details["operation"] != "roles.create" || e.Details["permission"] != identity.PermRolesWrite {
			t.Errorf("on record as %+v", e)
		}
		if e := events[10]; e.Reason != reasonRate {
			t.Errorf("on record as %+v", e)
		}
		counted := w.counted()
		if len(counted) != 1 || counted[0].Count != 491+20 || counted[0].Details["invalid_token"] != "20" || counted[0].Details["insufficient_scope"] != "491" {
			t.Errorf("counted as %+v", counted)
		}
	})
}

// No record, no answer: not even that of a refusal.
func TestARefusalThatCannotBeRecordedIsUnavailable(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		r := w.request()
		proved, err := w.endpoint.SignIn(t.Context(), r.Presented, r.Meta)
		w.must(err)
		caller := &proved
		w.must(w.store.Close(t.Context()))
		err = w.endpoint.RefuseCall(t.Context(), caller, "roles.create", r.Meta, fault.InsufficientScope(identity.PermRolesWrite))
		if f := fault.From(err); f.Kind != fault.KindUnavailable || f.RetryAfter <= 0 {
			t.Errorf("answered %v", err)
		}
	})
}
