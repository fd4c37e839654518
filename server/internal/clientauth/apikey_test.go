package clientauth

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func (w *world) newKey(expires time.Time) (k *identity.APIKey, text identity.Secret) {
	w.t.Helper()
	text = identity.GenerateAPIKey()
	k = &identity.APIKey{
		ID: identity.NewID(identity.PrefixAPIKey, w.clock.Now()), ServiceAccountID: w.id, Name: "k",
		Hint: identity.Hint(text), MAC: w.keys.SecretMAC(text.Reveal()), ExpiresAt: expires,
	}
	w.change(audit.APIKeyCreated, func(ctx context.Context, tx *store.Tx) error { return tx.InsertAPIKey(ctx, k) })
	return k, text
}

func (w *world) keyRefused(text identity.Secret, face *fault.Error, want Failure) {
	w.t.Helper()
	client, err := w.auth.AuthenticateKey(w.t.Context(), text, w.clock.Now())
	if client != (Client{}) {
		w.t.Fatalf("signed in with %+v", client)
	}
	public := *fault.From(err).Because(nil)
	if diff := cmp.Diff(face, &public, cmp.AllowUnexported(fault.Error{})); diff != "" {
		w.t.Errorf("another face:\n%s", diff)
	}
	got, ok := errors.AsType[*Failure](err)
	if !ok {
		w.t.Fatalf("no reason inside: %v", err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		w.t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAKeySignsItsAccountIn(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		for range 3 {
			k, text := w.newKey(time.Time{})
			c, err := w.auth.AuthenticateKey(t.Context(), text, w.clock.Now())
			w.must(err)
			if c.CredentialID != k.ID || c.Principal.Account.ID != w.id || c.Method != MethodAPIKey {
				t.Errorf("%+v", c)
			}
		}
	})
}

func TestRefusalsOfKeysDifferInsideOnly(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		k, text := w.newKey(w.clock.Now().Add(time.Hour))
		w.keyRefused(identity.GenerateAPIKey(), fault.InvalidAPIKey(), Failure{Reason: ReasonUnknownAPIKey})
		if _, err := w.auth.AuthenticateKey(t.Context(), text, w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(time.Hour)
		w.keyRefused(text, fault.InvalidAPIKey(), Failure{ReasonCredentialExpired, w.id, k.ID})
		w.change(audit.APIKeyDeleted, func(ctx context.Context, tx *store.Tx) error { return tx.DeleteAPIKey(ctx, k) })
		w.keyRefused(text, fault.InvalidAPIKey(), Failure{Reason: ReasonUnknownAPIKey, AccountID: w.id})
		w.change(audit.AccountDeleted, func(ctx context.Context, tx *store.Tx) error {
			a, err := tx.ServiceAccount(ctx, w.id)
			if err != nil {
				return err
			}
			return tx.DeleteServiceAccount(ctx, a)
		})
		w.keyRefused(text, fault.InvalidAPIKey(), Failure{Reason: ReasonUnknownAPIKey})
	})
}

// A typo is told without asking anybody: also by a server whose database is gone.
func TestATypoIsToldWithoutALookUp(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		_, text := w.newKey(time.Time{})
		good := text.Reveal()
		w.must(w.store.Close(t.Context()))
		for _, typo := range []string{"", good[:52], good + "0", "mqs" + good[3:], good[:20] + "-" + good[21:], good[1:] + "0"} {
			w.keyRefused(identity.NewSecretValue(typo), fault.MalformedAPIKey(), Failure{Reason: ReasonMalformedAPIKey})
		}
		if _, err := w.auth.AuthenticateKey(t.Context(), identity.GenerateAPIKey(), w.clock.Now()); err == nil || fault.Is(err, fault.CodeInvalidAPIKey) {
			t.Errorf("a wrong key, without a database: %v", err)
		}
	})
}

// A client secret and an API key are told apart by what they are, even where
// somebody has stored one as the other.
func TestAKeyIsNoSecretAndASecretNoKey(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		_, key := w.newKey(time.Time{})
		_, secret := w.newSecret(time.Time{})
		w.keyRefused(secret, fault.MalformedAPIKey(), Failure{Reason: ReasonMalformedAPIKey})
		w.refused(w.id, key, Failure{Reason: ReasonMalformedSecret, AccountID: w.id})
	})
}

// A key that one node has made signs in at another one, which knew its account
// without it.
func TestAKeyOfOneNodeSignsInAtAnother(t *testing.T) {
	t.Parallel()
	here, there, _ := testkit.TwoNodes(t, clock.System())
	master, err := keyring.ParseMasterKeys(keyring.GenerateMasterKey(1))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, clock: testkit.Clock(t), store: here}
	w.keys, err = keyring.Open(t.Context(), here, master, clock.System(), nil)
	w.must(err)
	w.must(w.keys.Bootstrap(t.Context()))
	other, err := keyring.Open(t.Context(), there, master, clock.System(), nil)
	w.must(err)
	account := identity.ServiceAccount{
		ID: identity.NewID(identity.PrefixServiceAccount, w.clock.Now()), Name: "agent", Kind: identity.KindAgent, Owner: "o", Status: identity.StatusActive,
	}
	w.change(audit.AccountCreated, func(ctx context.Context, tx *store.Tx) error { return tx.InsertServiceAccount(ctx, &account) })
	w.id = account.ID
	auth := New(there, other)
	for range 3 {
		if _, err := auth.AuthenticateKey(t.Context(), identity.GenerateAPIKey(), clock.System().Now()); !fault.Is(err, fault.CodeInvalidAPIKey) {
			t.Fatal(err)
		}
		_, text := w.newKey(time.Time{})
		began := clock.System().Now()
		for {
			_, err := auth.AuthenticateKey(t.Context(), text, clock.System().Now())
			if err == nil {
				break
			}
			if clock.System().Since(began) > time.Second {
				t.Fatalf("after a second: %v", err)
			}
		}
	}
}
