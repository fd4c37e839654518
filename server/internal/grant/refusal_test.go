package grant

import (
	"fmt"
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

func sameAddress(a, b netip.Addr) bool { return a == b }

// face is what the edge shows of an error.
func face(err error) fault.Error {
	f := *fault.From(err).Because(nil)
	return f
}

func TestUnknownClientAndWrongSecretHaveOneFace(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		wrong := identity.GenerateClientSecret()
		_, err := w.endpoint.Issue(t.Context(), w.request().as(w.id, wrong))
		want := face(err)
		if want.Code != fault.CodeInvalidClient || want.Kind != fault.KindUnauthenticated {
			t.Fatalf("a wrong secret: %v", err)
		}
		stranger := identity.NewID(identity.PrefixServiceAccount, w.clock.Now())
		for name, r := range map[string]*Request{
			"unknown client":   w.request().as(stranger, wrong),
			"no client id":     w.request().as("", wrong),
			"nonsense":         w.request().as("../../etc", wrong),
			"malformed secret": w.request().as(w.id, identity.NewSecretValue("hunter2")),
			"another account":  w.request().as(w.account("other"), w.secret),
			"nothing at all":   {Params: w.request().Params, Meta: w.request().Meta},
		} {
			_, err := w.endpoint.Issue(t.Context(), r)
			got := face(err)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(fault.Error{})); diff != "" {
				t.Errorf("%s differs:\n%s", name, diff)
			}
		}
	})
}

func TestProvedClientIsStillRefusedAtTheGate(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		tests := []struct {
			reason string
			change func(*identity.ServiceAccount)
		}{
			{reasonDisabled, func(a *identity.ServiceAccount) { a.Status = identity.StatusDisabled }},
			{reasonExpired, func(a *identity.ServiceAccount) {
				a.Status, a.ExpiresAt = identity.StatusActive, w.clock.Now()
			}},
			{reasonNetwork, func(a *identity.ServiceAccount) {
				a.ExpiresAt, a.AllowedNetworks = time.Time{}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			}},
		}
		for _, tt := range tests {
			w.changeAccount(tt.change)
			_, err := w.endpoint.Issue(t.Context(), w.request())
			got, want := face(err), *fault.InvalidClient()
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(fault.Error{})); diff != "" {
				t.Errorf("%s shows:\n%s", tt.reason, diff)
			}
			events := w.events(audit.TokenRefused)
			e := events[len(events)-1]
			if e.Reason != tt.reason || e.AccountID != w.id || e.CredentialID != w.credID || e.Outcome != audit.Refused {
				t.Errorf("%s is on record as %+v", tt.reason, e)
			}
		}
		if _, err := w.endpoint.Issue(t.Context(), w.request().from("::ffff:10.1.2.3")); err != nil {
			t.Errorf("from an allowed network: %v", err)
		}
	})
}

func TestGuesserIsThrottledAndTheAgentIsNot(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		const guesses = 1000
		through := 0
		for range guesses {
			_, err := w.endpoint.Issue(t.Context(), w.request().as(w.id, identity.GenerateClientSecret()).from("203.0.113.7"))
			switch f := fault.From(err); f.Code {
			case fault.CodeInvalidClient:
				through++
			case fault.CodeRateLimited:
				if f.RetryAfter != 30*time.Second {
					t.Fatalf("Retry-After is %s", f.RetryAfter)
				}
			default:
				t.Fatal(err)
			}
		}
		if through != 10 {
			t.Errorf("%d of %d guesses were looked at", through, guesses)
		}
		// Even the right secret has to wait there, and nowhere else.
		if _, err := w.endpoint.Issue(t.Context(), w.request().from("203.0.113.7")); !fault.Is(err, fault.CodeRateLimited) {
			t.Errorf("the right secret from the guesser's address: %v", err)
		}
		if _, err := w.endpoint.Issue(t.Context(), w.request()); err != nil {
			t.Errorf("the agent is locked out: %v", err)
		}
		w.clock.Advance(30*time.Second - time.Nanosecond)
		if _, err := w.endpoint.Issue(t.Context(), w.request().from("203.0.113.7")); !fault.Is(err, fault.CodeRateLimited) {
			t.Errorf("before Retry-After: %v", err)
		}
		w.clock.Advance(time.Nanosecond)
		if _, err := w.endpoint.Issue(t.Context(), w.request().from("203.0.113.7")); err != nil {
			t.Errorf("at Retry-After: %v", err)
		}
	})
}

func TestRefusalsBeyondTenAMinuteAreCounted(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		for range 25 {
			_, err := w.endpoint.Issue(t.Context(), w.request("scope", "invoices:pay"))
			if !fault.Is(err, fault.CodeInvalidScope) {
				t.Fatal(err)
			}
		}
		if n := len(w.events(audit.TokenRefused)); n != 10 {
			t.Errorf("%d are recorded singly", n)
		}
		counted := w.counted()
		if len(counted) != 1 || counted[0].Count != 15 {
			t.Errorf("counted as %+v", counted)
		}
	})
}

func TestStrangersLeaveNoTextBehind(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		const mark = "x-marks-the-spot"
		for i := range 20 {
			r := w.request().as(fmt.Sprintf("%s-%d", mark, i), identity.NewSecretValue(mark)).from(fmt.Sprintf("203.0.113.%d", i))
			r.RequestID, r.TraceID = mark, mark
			if _, err := w.endpoint.Issue(t.Context(), r); !fault.Is(err, fault.CodeInvalidClient) {
				t.Fatal(err)
			}
		}
		r := w.request().as(w.id, identity.NewSecretValue(mark)) // a known account, not proved
		r.RequestID, r.TraceID = mark, mark
		_, err := w.endpoint.Issue(t.Context(), r)
		if !fault.Is(err, fault.CodeInvalidClient) {
			t.Fatal(err)
		}
		if events := w.events(audit.TokenRefused); len(events) != 1 || events[0].Reason != string(clientauth.ReasonMalformedSecret) || events[0].Actor != "" {
			t.Errorf("recorded singly: %+v", events)
		}
		if counted := w.counted(); len(counted) != 1 || counted[0].Count != 20 {
			t.Errorf("counted: %+v", counted)
		}
		w.must(w.store.View(t.Context(), func(r *store.Reader) error {
			return r.AuditLinks(t.Context(), w.store.AuditChain(), func(l audit.Link) error {
				if strings.Contains(string(l.Canonical), mark) {
					t.Errorf("the record holds %s", l.Canonical)
				}
				return nil
			})
		}))
	})
}

func TestSignInElsewhereHasTheSameGateAndItsOwnEvent(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		good := w.request()
		caller, err := w.endpoint.SignIn(t.Context(), good.Presented, good.Meta)
		w.must(err)
		if caller.ClientID != w.id || caller.CredentialID != w.credID || caller.TokenID != "" {
			t.Errorf("signed in as %+v", caller)
		}
		bad := w.request().as(w.id, identity.GenerateClientSecret())
		for range 10 {
			if _, err := w.endpoint.SignIn(t.Context(), bad.Presented, bad.Meta); !fault.Is(err, fault.CodeInvalidClient) {
				t.Fatal(err)
			}
		}
		if n := len(w.events(audit.APIRefused)); n != 10 {
			t.Errorf("%d events", n)
		}
		// Guessing there uses up the budget of the token endpoint too.
		if _, err := w.endpoint.Issue(t.Context(), good); !fault.Is(err, fault.CodeRateLimited) {
			t.Errorf("the token endpoint: %v", err)
		}
	})
}
