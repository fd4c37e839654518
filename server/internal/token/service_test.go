package token

import (
	"context"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func (w *world) active(caller *Caller, raw string) bool {
	w.t.Helper()
	got, err := w.service.Introspect(w.t.Context(), caller, raw)
	w.must(err)
	inside := cmp.AllowUnexported(Known{}, verified{})
	if v, err := w.service.checker.verify(raw); err == nil {
		again, err := w.service.IntrospectKnown(w.t.Context(), caller, Known{v})
		w.must(err)
		if diff := cmp.Diff(got, again, inside); diff != "" {
			w.t.Errorf("a token that is known already gets another answer:\n%s", diff)
		}
	}
	if !got.Active {
		if diff := cmp.Diff(Introspection{}, got, inside); diff != "" {
			w.t.Errorf("an inactive token has more to it than that:\n%s", diff)
		}
		if body := string(got.AppendJSON(nil)); body != `{"active":false}` {
			w.t.Errorf("an inactive token is answered as %s", body)
		}
	}
	return got.Active
}

func TestIntrospectionIsForThoseWhoAreTrustedWithIt(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		subject := w.agent("subject")
		listed := w.agent("listed")
		validator := w.agent("validator", identity.RoleValidatorID)
		admin := w.agent("admin", identity.RoleAdminID)
		auditor := w.agent("auditor", identity.RoleAuditorID)
		w.change(audit.ResourceServerUpdated, func(ctx context.Context, tx *store.Tx) error {
			rs, err := tx.ResourceServer(ctx, w.api.ID)
			if err != nil {
				return err
			}
			rs.Introspectors = []string{listed.id}
			return tx.UpdateResourceServer(ctx, rs)
		})
		raw := subject.token().Token

		for name, tt := range map[string]struct {
			caller *Caller
			want   bool
		}{
			"introspector of the resource server": {listed.caller(), true},
			"holder of tokens:introspect":         {validator.caller(), true},
			"administrator":                       {admin.caller(), true},
			"auditor":                             {auditor.caller(), false},
			"the token's own account":             {subject.caller(), false},
		} {
			if got := w.active(tt.caller, raw); got != tt.want {
				t.Errorf("%s sees active:%t", name, got)
			}
		}

		other := w.resourceServer("https://other.example")
		r := subject.request()
		r.ResourceServer = &other
		foreign, err := w.issuer.Mint(r)
		w.must(err)
		if w.active(listed.caller(), foreign.Token) {
			t.Error("an introspector sees tokens of another resource server")
		}
		narrow, err := w.checker.Bearer(t.Context(), admin.managementToken(identity.PermAuditRead).Token)
		w.must(err)
		if w.active(narrow, raw) {
			t.Error("a token without tokens:introspect shows tokens")
		}
	})
}

func TestIntrospectionSaysWhatTheTokenSays(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		subject, validator := w.agent("subject"), w.agent("validator", identity.RoleValidatorID)
		m := subject.token()
		for range 2 { // the second time from the cache
			got, err := w.service.Introspect(t.Context(), validator.caller(), m.Token)
			w.must(err)
			var body map[string]any
			w.must(json.Unmarshal(got.AppendJSON(nil), &body))
			iat := float64(w.clock.Now().Unix())
			want := map[string]any{
				"active": true, "token_type": "Bearer", "iss": testIssuer, "sub": subject.id, "client_id": subject.id,
				"aud": testAPI, "iat": iat, "nbf": iat, "exp": iat + 900, "jti": m.ID, "scope": "invoices:read",
				"roles": []any{"clerk"}, "gen": float64(got.Token.verified.claims.Gen), "cred": subject.secret.ID,
			}
			if diff := cmp.Diff(want, body); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		}
	})
}

func TestIntrospectionOfADeadTokenSaysNothing(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		validator := w.agent("validator", identity.RoleValidatorID)
		a := w.agent("subject")
		m := a.token()
		for _, raw := range []string{"", "garbage", m.Token + "x", m.Token[:len(m.Token)-1]} {
			if w.active(validator.caller(), raw) {
				t.Errorf("%q is active", raw)
			}
		}
		w.clock.Advance(15 * time.Minute)
		if w.active(validator.caller(), m.Token) {
			t.Error("an expired token is active")
		}
		m = a.token()
		a.stop()
		if w.active(validator.caller(), m.Token) {
			t.Error("a revoked token is active")
		}
	})
}

func TestRevocationFollowsItsRules(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a, b := w.agent("a"), w.agent("b")
		operator, auditor := w.agent("operator", identity.RoleOperatorID), w.agent("auditor", identity.RoleAuditorID)
		own, others, kept := a.token(), a.token(), a.token()

		for name, tt := range map[string]struct {
			caller *Caller
			raw    string
			code   fault.Code
		}{
			"its own":            {a.caller(), own.Token, ""},
			"with the right":     {operator.caller(), others.Token, ""},
			"another client's":   {b.caller(), kept.Token, fault.CodeUnauthorizedClient},
			"without the right":  {auditor.caller(), kept.Token, fault.CodeUnauthorizedClient},
			"garbage":            {b.caller(), "garbage", ""},
			"nothing":            {b.caller(), "", ""},
			"a broken signature": {b.caller(), kept.Token[:len(kept.Token)-4] + "AAAA", ""},
		} {
			err := w.service.Revoke(t.Context(), tt.caller, tt.raw, Meta{})
			if tt.code == "" && err != nil || tt.code != "" && !fault.Is(err, tt.code) {
				t.Errorf("%s: %v, want %q", name, err, tt.code)
			}
			if f := fault.From(err); f != nil && f.Kind != fault.KindInvalid {
				t.Errorf("%s: kind %d, which is not a 400", name, f.Kind)
			}
		}
		w.refusedFor(own.Token, reasonRevoked)
		w.refusedFor(others.Token, reasonRevoked)
		w.accepted(kept.Token)
	})
}

func TestRevokingTwiceIsOneRevocation(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a, operator := w.agent("a"), w.agent("operator", identity.RoleOperatorID)
		m := a.token()
		meta := Meta{RequestID: identity.NewID(identity.PrefixRequest, w.clock.Now()), Address: netip.MustParseAddr("192.0.2.1")}
		w.must(w.service.Revoke(t.Context(), operator.caller(), m.Token, meta))
		w.must(w.service.Revoke(t.Context(), operator.caller(), m.Token, meta))
		w.must(w.service.Revoke(t.Context(), a.caller(), m.Token, meta))

		events := w.events(audit.TokenRevoked)
		if len(events) != 1 {
			t.Fatalf("%d events", len(events))
		}
		e := events[0]
		if e.Actor != operator.id || e.AccountID != a.id || e.Subject != m.ID || e.Audience != testAPI ||
			e.RequestID != meta.RequestID || e.Address != meta.Address || e.CredentialID != operator.secret.ID {
			t.Errorf("the event is %+v", e)
		}
	})
}

func TestRevokingAnExpiredTokenWritesNothing(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		a := w.agent("a")
		m := a.token()
		w.clock.Advance(time.Hour)
		w.must(w.service.Revoke(t.Context(), a.caller(), m.Token, Meta{}))
		if n := len(w.events(audit.TokenRevoked)); n != 0 {
			t.Errorf("%d events", n)
		}
	})
}

func BenchmarkIntrospectSeenBefore(b *testing.B) {
	w := newBenchWorld(b)
	caller := w.agent("validator", identity.RoleValidatorID).caller()
	raw := w.agent("subject").token().Token
	body := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		got, err := w.service.Introspect(context.Background(), caller, raw)
		if err != nil || !got.Active {
			b.Fatal(got, err)
		}
		body = got.AppendJSON(body[:0])
	}
}

// Introspection by trust in the account, and revoking one's own, use no permission.
func TestPermissionsAreUsedWhereTheyAreNeeded(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := newWorld(t, url)
		subject, listed := w.agent("subject"), w.agent("listed", identity.RoleAdminID)
		trusted, asking := w.agent("trusted", identity.RoleAdminID), w.agent("asking", identity.RoleAdminID)
		w.change(audit.ResourceServerUpdated, func(ctx context.Context, tx *store.Tx) error {
			rs, err := tx.ResourceServer(ctx, w.api.ID)
			if err != nil {
				return err
			}
			rs.Introspectors = []string{listed.id}
			return tx.UpdateResourceServer(ctx, rs)
		})
		raw := subject.token().Token
		for _, a := range []*agent{listed, asking} {
			if !w.active(a.caller(), raw) {
				t.Fatal("inactive")
			}
		}
		w.must(w.service.Revoke(t.Context(), listed.caller(), listed.managementToken().Token, Meta{}))
		w.must(w.service.Revoke(t.Context(), trusted.caller(), raw, Meta{}))
		w.must(w.store.Close(t.Context()))
		again := testkit.Open(t, url, w.clock)
		for a, want := range map[*agent]string{subject: "", listed: "", asking: identity.PermTokensIntrospect, trusted: identity.PermTokensRevoke} {
			got := ""
			w.must(again.View(t.Context(), func(r *store.Reader) error {
				all, _, err := r.PermissionsInEffect(t.Context(), a.id, store.EffectiveFilter{}, w.clock.Now(), store.EffectivePosition{}, 200)
				for _, p := range all {
					if !p.LastUsedAt.IsZero() {
						got += p.Permission
					}
				}
				return err
			}))
			if got != want {
				t.Errorf("%s has used %q, want %q", a.id, got, want)
			}
		}
	})
}
