package directory_test

import (
	"context"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

func (w *world) revoke(in directory.Stop) *directory.Stopped {
	w.t.Helper()
	out, err := w.Revoke(w.ctx, w.admin, w.meta, in)
	w.must(err)
	return out
}

func TestADryRunTellsTheSameAndChangesNothing(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("agent")
		c := w.secret(a.ID, time.Time{})
		tokenID := identity.NewID(identity.PrefixToken, w.clock.Now())
		for name, stop := range map[string]directory.Stop{
			"account": {AccountID: a.ID}, "credential": {CredentialID: c.ClientSecret.ID}, "token": {TokenID: tokenID, AccountID: a.ID},
		} {
			position := w.store.Snapshot()
			stop.DryRun = true
			dry := w.revoke(stop)
			if w.store.Snapshot() != position || dry.Applied || len(dry.Entries) != 1 || dry.AccountCount != 1 || dry.Accounts[0].Name != "agent" {
				t.Errorf("%s: %+v", name, dry)
			}
			if w.store.TokenRevoked(tokenID) && name == "token" || len(w.store.Revoked()) > 0 && name == "account" {
				t.Errorf("%s: a dry run has revoked it", name)
			}
		}
		// What is told is what then happens, each refused where the change would be.
		_, err := w.Revoke(w.ctx, w.admin, w.meta, directory.Stop{CredentialID: w.admin.CredentialID, DryRun: true})
		w.refused(err, fault.CodeLastAdministrator)
		dry := w.revoke(directory.Stop{AccountID: a.ID, DryRun: true})
		done := w.revoke(directory.Stop{AccountID: a.ID})
		if dry.Entries[0] != done.Entries[0] || !done.Applied || done.CredentialCount != 1 {
			t.Errorf("foretold %+v, done %+v", dry, done)
		}
	})
}

func TestARevocationIsOnRecordWithItsReason(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("agent")
		c := w.secret(a.ID, time.Time{})
		tokenID := identity.NewID(identity.PrefixToken, w.clock.Now())
		for typ, stop := range map[audit.Type]directory.Stop{
			audit.TokenRevoked:         {TokenID: tokenID, AccountID: a.ID},
			audit.AccountTokensRevoked: {AccountID: a.ID},
			audit.CredentialRevoked:    {CredentialID: c.ClientSecret.ID},
		} {
			stop.Reason = "its host was taken over"
			w.revoke(stop)
			if e := w.last(typ); e.Details["reason"] != stop.Reason || e.AccountID != a.ID || e.Actor != w.admin.ClientID {
				t.Errorf("%s: %+v", typ, e)
			}
		}
		// What is stopped already is no second event.
		n := w.store.Snapshot()
		for _, stop := range []directory.Stop{{TokenID: tokenID}, {CredentialID: c.ClientSecret.ID}} {
			if again := w.revoke(stop); again.Applied || len(again.Entries) != 1 {
				t.Errorf("again: %+v", again)
			}
		}
		if w.store.Snapshot() != n {
			t.Error("something was changed by it")
		}
	})
}

func TestWhatCannotBeRevokedIsNamed(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("agent")
		old := identity.NewID(identity.PrefixToken, w.clock.Now().Add(-48*time.Hour))
		if out := w.revoke(directory.Stop{TokenID: old}); out.Applied || len(out.Entries) != 0 || out.AccountCount >= 0 {
			t.Errorf("a token that has expired: %+v", out)
		}
		for name, tc := range map[string]struct {
			stop directory.Stop
			code fault.Code
		}{
			"nothing":           {directory.Stop{}, fault.CodeInvalidRequest},
			"two":               {directory.Stop{AccountID: a.ID, CredentialID: "sec_01jzt3v0q8n4m6x2c9k7b5h1d0"}, fault.CodeInvalidRequest},
			"no id":             {directory.Stop{AccountID: "agent"}, fault.CodeInvalidRequest},
			"no credential":     {directory.Stop{CredentialID: "tok_01jzt3v0q8n4m6x2c9k7b5h1d0"}, fault.CodeInvalidRequest},
			"nobody":            {directory.Stop{AccountID: "sa_01jzt3v0q8n4m6x2c9k7b5h1d0"}, fault.CodeNotFound},
			"token of nobody":   {directory.Stop{TokenID: identity.NewID(identity.PrefixToken, w.clock.Now()), AccountID: "sa_01jzt3v0q8n4m6x2c9k7b5h1d0"}, fault.CodeNotFound},
			"no such":           {directory.Stop{CredentialID: "sec_01jzt3v0q8n4m6x2c9k7b5h1d0"}, fault.CodeNotFound},
			"control character": {directory.Stop{AccountID: a.ID, Reason: "a\nb"}, fault.CodeInvalidRequest},
		} {
			_, err := w.Revoke(w.ctx, w.admin, w.meta, tc.stop)
			if !fault.Is(err, tc.code) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// A rotation without overlap ends the old secret now, and what was issued for it.
func TestARotationWithoutOverlapRevokesTheOldSecret(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("agent")
		c := w.secret(a.ID, time.Time{})
		now := time.Duration(0)
		_, err := w.RotateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.Rotation{Overlap: &now})
		w.must(err)
		w.must(w.store.View(w.ctx, func(r *store.Reader) error {
			_, err := r.Revocation(context.WithoutCancel(w.ctx), identity.RevokedCredential, c.ClientSecret.ID)
			return err
		}))
	})
}

// isRevoked reports whether followers are told that something is dead.
func (w *world) isRevoked(kind identity.RevocationKind, id string) bool {
	w.t.Helper()
	err := w.store.View(w.ctx, func(r *store.Reader) error {
		_, err := r.Revocation(w.ctx, kind, id)
		return err
	})
	if err != nil && !fault.Is(err, fault.CodeNotFound) {
		w.t.Fatal(err)
	}
	return err == nil
}

// However an API key ends before its time, followers are told; and what they have
// been told is dead does not come back.
func TestTheEndOfAnAPIKeyIsARevocation(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("agent")
		deleted, revoked, rotated, ended := w.key(a.ID, directory.NewAPIKey{Name: "deleted"}).APIKey, w.key(a.ID, directory.NewAPIKey{Name: "revoked"}).APIKey,
			w.key(a.ID, directory.NewAPIKey{Name: "rotated"}).APIKey, w.key(a.ID, directory.NewAPIKey{Name: "ended"}).APIKey
		kept := w.key(a.ID, directory.NewAPIKey{Name: "kept"}).APIKey

		w.must(w.DeleteAPIKey(w.ctx, w.admin, w.meta, a.ID, deleted.ID, nil))
		if out := w.revoke(directory.Stop{CredentialID: revoked.ID}); !out.Applied || out.Credentials[0].Kind != identity.KindAPIKey {
			t.Errorf("revoked: %+v", out)
		}
		now := time.Duration(0)
		_, err := w.RotateAPIKey(w.ctx, w.admin, w.meta, a.ID, rotated.ID, directory.KeyRotation{Overlap: &now})
		w.must(err)
		soon := w.clock.Now().Add(time.Minute)
		_, err = w.UpdateAPIKey(w.ctx, w.admin, w.meta, a.ID, ended.ID, nil, directory.APIKeyPatch{ExpiresAt: directory.PatchTo(soon)})
		w.must(err)
		for id, want := range map[string]bool{deleted.ID: true, revoked.ID: true, rotated.ID: true, ended.ID: false, kept.ID: false} {
			if got := w.isRevoked(identity.RevokedCredential, id); got != want {
				t.Errorf("%s: revoked is %t, want %t", id, got, want)
			}
		}
		w.clock.Advance(time.Minute)
		later := w.clock.Now().Add(time.Hour)
		_, err = w.UpdateAPIKey(w.ctx, w.admin, w.meta, a.ID, ended.ID, nil, directory.APIKeyPatch{ExpiresAt: directory.PatchTo(later)})
		w.refused(err, fault.CodeInvalidRequest)
		w.must(w.store.Check(w.ctx))
	})
}

func TestASigningKeyIsRevokedWithTheRest(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		keys := w.signingKeys("ES256")
		active, prepared := keys["active"][0].KID, keys["prepared"][0].KID
		dry := w.revoke(directory.Stop{SigningKeyID: active, DryRun: true})
		if dry.Applied || len(dry.Entries) != 1 || w.isRevoked(identity.RevokedSigningKey, active) || w.signingKeys("ES256")["active"][0].KID != active {
			t.Errorf("a dry run: %+v", dry)
		}
		done := w.revoke(directory.Stop{SigningKeyID: active, Reason: "its host was taken over"})
		if !done.Applied || done.Entries[0] != dry.Entries[0] || done.AccountCount >= 0 || done.CredentialCount >= 0 {
			t.Errorf("foretold %+v, done %+v", dry, done)
		}
		if e := w.last(audit.SigningKeyRevoked); e.Subject != active || e.Details["reason"] == "" || e.Details["promoted"] != prepared {
			t.Errorf("event %+v", e)
		}
		if again := w.revoke(directory.Stop{SigningKeyID: active}); again.Applied || len(again.Entries) != 1 {
			t.Errorf("again: %+v", again)
		}

		weak := *w.admin
		weak.Scopes = []string{identity.PermTokensRevoke}
		_, err := w.Revoke(w.ctx, &weak, w.meta, directory.Stop{SigningKeyID: prepared})
		w.refused(err, fault.CodeInsufficientScope)
		_, err = w.Revoke(w.ctx, w.admin, w.meta, directory.Stop{SigningKeyID: "sig_01jzt3v0q8n4m6x2c9k7b5h1d0"})
		w.refused(err, fault.CodeNotFound)
	})
}
