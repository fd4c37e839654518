package directory_test

import (
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// signingKeys lists the keys with the algorithm, by state.
func (w *world) signingKeys(algorithm string) map[string][]directory.SigningKey {
	w.t.Helper()
	page, err := w.ListSigningKeys(w.ctx, w.admin, directory.SigningKeyFilter{Algorithm: algorithm}, directory.PageRequest{Size: 200})
	w.must(err)
	out := map[string][]directory.SigningKey{}
	for _, k := range page.Items {
		out[k.State] = append(out[k.State], k)
	}
	return out
}

// last is the newest event of the type.
func (w *world) last(typ audit.Type) audit.Event {
	w.t.Helper()
	events := w.events()
	for i := len(events) - 1; i >= 0; i-- {
		if events[i].Type == typ {
			return events[i]
		}
	}
	w.t.Fatalf("no event %s", typ)
	return audit.Event{}
}

func TestSigningKeysRotateForWhoKnowsTheActiveOne(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		keys := w.signingKeys("ES256")
		active, prepared := keys["active"][0], keys["prepared"][0]
		if want := prepared.CreatedAt.Add(6 * time.Minute); !prepared.ReadyAt.Equal(want) || !active.ReadyAt.IsZero() {
			t.Errorf("ready at %s, want %s", prepared.ReadyAt, want)
		}
		in := directory.SigningKeyRotation{ExpectedActiveKID: active.KID}
		_, err := w.RotateSigningKey(w.ctx, w.admin, w.meta, in)
		w.refused(err, fault.CodeSigningKeyNotReady)
		w.clock.Advance(6 * time.Minute)
		_, err = w.RotateSigningKey(w.ctx, w.admin, w.meta, directory.SigningKeyRotation{ExpectedActiveKID: prepared.KID})
		w.refused(err, fault.CodeActiveKeyChanged)
		_, err = w.RotateSigningKey(w.ctx, w.admin, w.meta, directory.SigningKeyRotation{Algorithm: "EdDSA", ExpectedActiveKID: active.KID})
		w.refused(err, fault.CodeActiveKeyChanged)
		_, err = w.RotateSigningKey(w.ctx, w.admin, w.meta, directory.SigningKeyRotation{Algorithm: "HS256", ExpectedActiveKID: active.KID})
		w.refused(err, fault.CodeInvalidRequest)

		got, err := w.RotateSigningKey(w.ctx, w.admin, w.meta, in)
		w.must(err)
		if got.KID != prepared.KID || got.State != "active" || !got.ActivatedAt.Equal(w.clock.Now()) {
			t.Errorf("active now: %+v", got)
		}
		_, err = w.RotateSigningKey(w.ctx, w.admin, w.meta, in)
		w.refused(err, fault.CodeActiveKeyChanged)
		e := w.last(audit.SigningKeyRotated)
		next := w.signingKeys("ES256")["prepared"][0]
		if e.Subject != got.KID || e.Actor != w.admin.ClientID || e.RequestID != w.meta.RequestID ||
			e.Details["previous"] != active.KID || e.Details["prepared"] != next.KID || e.Details["algorithm"] != "ES256" {
			t.Errorf("event: %+v", e)
		}
		old, err := w.GetSigningKey(w.ctx, w.admin, active.KID)
		w.must(err)
		if old.State != "retired" || !old.RetiredAt.Equal(w.clock.Now()) || !old.PublishedUntil.Equal(w.clock.Now().Add(24*time.Hour+time.Minute)) {
			t.Errorf("retired: %+v", old)
		}
	})
}

func TestASigningKeyIsRevokedOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		keys := w.signingKeys("ES256")
		active, prepared := keys["active"][0], keys["prepared"][0]
		got, err := w.RevokeSigningKey(w.ctx, w.admin, w.meta, active.KID)
		w.must(err)
		if got.KID != active.KID || got.State != "revoked" || !got.RevokedAt.Equal(w.clock.Now()) {
			t.Errorf("revoked: %+v", got)
		}
		after := w.signingKeys("ES256")
		e := w.last(audit.SigningKeyRevoked)
		if after["active"][0].KID != prepared.KID || e.Subject != active.KID || e.Details["promoted"] != prepared.KID ||
			e.Details["prepared"] != after["prepared"][0].KID || e.Details["state"] != "active" || e.Actor != w.admin.ClientID {
			t.Errorf("keys %+v, event %+v", after, e)
		}
		w.clock.Advance(time.Second)
		again, err := w.RevokeSigningKey(w.ctx, w.admin, w.meta, active.KID)
		w.must(err)
		if !again.RevokedAt.Equal(got.RevokedAt) || len(w.signingKeys("ES256")["prepared"]) != 1 || w.signingKeys("ES256")["active"][0].KID != prepared.KID {
			t.Errorf("again: %+v", again)
		}
		for _, kid := range []string{identity.NewID(identity.PrefixSigningKey, w.clock.Now()), "", "nonsense\x00"} {
			_, err = w.RevokeSigningKey(w.ctx, w.admin, w.meta, kid)
			w.refused(err, fault.CodeNotFound)
			_, err = w.GetSigningKey(w.ctx, w.admin, kid)
			w.refused(err, fault.CodeNotFound)
		}
	})
}

// Whoever may revoke keys of tokens must not make the record unverifiable.
func TestKeysOfCheckpointsAreNotSigningKeys(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		var all []store.SigningKey
		w.must(w.store.View(w.ctx, func(r *store.Reader) (err error) {
			all, err = r.SigningKeys(w.ctx)
			return err
		}))
		listed := w.signingKeys("")
		for _, k := range all {
			if k.Use != store.KeyUseCheckpoint {
				continue
			}
			_, err := w.GetSigningKey(w.ctx, w.admin, k.ID)
			w.refused(err, fault.CodeNotFound)
			_, err = w.RevokeSigningKey(w.ctx, w.admin, w.meta, k.ID)
			w.refused(err, fault.CodeNotFound)
			for _, keys := range listed {
				for _, l := range keys {
					if l.KID == k.ID {
						t.Error("it is listed")
					}
				}
			}
		}
	})
}

func TestAnAlgorithmIsChosenAndComesIntoForceWhenItsKeyIsReady(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read")
		if api.SigningAlg != "ES256" || api.SigningAlgEffective != "ES256" {
			t.Errorf("at first: %+v", api)
		}
		choose := func(alg string) *identity.ResourceServer {
			t.Helper()
			rs, err := w.UpdateResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, directory.ResourceServerPatch{SigningAlg: directory.PatchTo(alg)})
			w.must(err)
			return rs
		}
		if rs := choose("EdDSA"); rs.SigningAlg != "EdDSA" || rs.SigningAlgEffective != "ES256" {
			t.Errorf("chosen: %+v", rs)
		}
		first := w.signingKeys("EdDSA")
		if len(first["prepared"]) != 1 || len(first) != 1 || w.last(audit.SigningKeyCreated).Subject != first["prepared"][0].KID {
			t.Fatalf("keys: %+v", first)
		}
		w.clock.Advance(6 * time.Minute)
		w.must(w.keeper.Keep(w.ctx))
		rs, err := w.GetResourceServer(w.ctx, w.admin, api.ID)
		w.must(err)
		if rs.SigningAlgEffective != "EdDSA" {
			t.Errorf("ready: %+v", rs)
		}
		// From one to the next: what was in force stays until then.
		if rs := choose("RS256"); rs.SigningAlg != "RS256" || rs.SigningAlgEffective != "EdDSA" {
			t.Errorf("the next: %+v", rs)
		}
		// One that signs already is in force at once.
		if rs := choose("ES256"); rs.SigningAlgEffective != "ES256" {
			t.Errorf("back: %+v", rs)
		}
		other, err := w.CreateResourceServer(w.ctx, w.admin, w.meta, directory.NewResourceServer{
			Name: "other", Identifier: "https://other.example", SigningAlg: "RS256",
		})
		w.must(err)
		if other.SigningAlg != "RS256" || other.SigningAlgEffective != "ES256" || len(w.signingKeys("RS256")["prepared"]) != 1 {
			t.Errorf("created: %+v", other)
		}
	})
}

func TestListsOfSigningKeysAreFiltered(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for name, c := range map[string]struct {
			filter directory.SigningKeyFilter
			n      int
		}{
			"all": {directory.SigningKeyFilter{}, 2}, "active": {directory.SigningKeyFilter{State: "active"}, 1},
			"none": {directory.SigningKeyFilter{Algorithm: "RS256"}, 0},
		} {
			page, err := w.ListSigningKeys(w.ctx, w.admin, c.filter, directory.PageRequest{})
			w.must(err)
			if len(page.Items) != c.n || page.NextToken != "" {
				t.Errorf("%s: %+v", name, page)
			}
		}
		for _, filter := range []directory.SigningKeyFilter{{Algorithm: "HS256"}, {State: "lost"}} {
			_, err := w.ListSigningKeys(w.ctx, w.admin, filter, directory.PageRequest{})
			w.refused(err, fault.CodeInvalidRequest)
		}
		one, err := w.ListSigningKeys(w.ctx, w.admin, directory.SigningKeyFilter{}, directory.PageRequest{Size: 1})
		w.must(err)
		two, err := w.ListSigningKeys(w.ctx, w.admin, directory.SigningKeyFilter{}, directory.PageRequest{Size: 1, Token: one.NextToken})
		w.must(err)
		if one.Items[0].KID == two.Items[0].KID || two.NextToken != "" {
			t.Errorf("pages %+v and %+v", one, two)
		}
	})
}
