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

type world struct {
	t     *testing.T
	clock *clock.Fake
	store *store.Store
	keys  *keyring.Keyring
	auth  *Authenticator
	id    string // of the account
}

func onEachDatabase(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := &world{t: t, clock: testkit.Clock(t)}
		w.store = testkit.Open(t, url, w.clock)
		master, err := keyring.ParseMasterKeys(keyring.GenerateMasterKey(1))
		w.must(err)
		w.keys, err = keyring.Open(t.Context(), w.store, master, w.clock, nil)
		w.must(err)
		w.must(w.keys.Bootstrap(t.Context()))
		w.auth = New(w.store, w.keys)
		account := identity.ServiceAccount{
			ID: identity.NewID(identity.PrefixServiceAccount, w.clock.Now()), Name: "agent", Kind: identity.KindAgent,
			Owner: "tests", Status: identity.StatusActive,
		}
		w.change(audit.AccountCreated, func(ctx context.Context, tx *store.Tx) error {
			return tx.InsertServiceAccount(ctx, &account)
		})
		w.id = account.ID
		fn(t, w)
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) change(typ audit.Type, fn func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	testkit.Change(w.t, w.store, typ, fn)
}

func (w *world) newSecret(expires time.Time) (id string, text identity.Secret) {
	w.t.Helper()
	text = identity.GenerateClientSecret()
	s := identity.ClientSecret{
		ID: identity.NewID(identity.PrefixClientSecret, w.clock.Now()), ServiceAccountID: w.id,
		Hint: identity.Hint(text), MAC: w.keys.SecretMAC(text.Reveal()), ExpiresAt: expires,
	}
	w.change(audit.ClientSecretCreated, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertClientSecret(ctx, &s)
	})
	return s.ID, text
}

func (w *world) try(clientID string, secret identity.Secret) (Client, error) {
	return w.auth.Authenticate(w.t.Context(), &Presented{Method: MethodForm, ClientID: clientID, Secret: secret}, w.clock.Now())
}

func (w *world) refused(clientID string, secret identity.Secret, want Failure) {
	w.t.Helper()
	client, err := w.try(clientID, secret)
	if client != (Client{}) {
		w.t.Fatalf("signed in with %+v", client)
	}
	public := *fault.From(err).Because(nil)
	if diff := cmp.Diff(fault.InvalidClient(), &public, cmp.AllowUnexported(fault.Error{})); diff != "" {
		w.t.Errorf("another face than that of every refusal:\n%s", diff)
	}
	got, ok := errors.AsType[*Failure](err)
	if !ok {
		w.t.Fatalf("no reason inside: %v", err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		w.t.Errorf("-want +got:\n%s", diff)
	}
}

func TestEachLiveSecretSignsInAsItself(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		for range 3 {
			id, text := w.newSecret(time.Time{})
			for _, method := range []Method{MethodBasic, MethodForm} {
				c, err := w.auth.Authenticate(t.Context(), &Presented{Method: method, ClientID: w.id, Secret: text}, w.clock.Now())
				w.must(err)
				if c.CredentialID != id || c.Principal.Account.ID != w.id || c.Method != method {
					t.Errorf("signed in as %s with %s by %s", c.Principal.Account.ID, c.CredentialID, c.Method)
				}
			}
		}
	})
}

func TestRefusalsDifferInsideOnly(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		_, right := w.newSecret(time.Time{})
		stranger := identity.NewID(identity.PrefixServiceAccount, w.clock.Now())
		wrong, typo := identity.GenerateClientSecret(), identity.NewSecretValue(right.Reveal()[:52]+"0")
		if typo.Reveal() == right.Reveal() {
			typo = identity.NewSecretValue(right.Reveal()[:52] + "1")
		}

		w.refused(stranger, right, Failure{Reason: ReasonUnknownClient})
		w.refused("nonsense", right, Failure{Reason: ReasonUnknownClient})
		w.refused("", right, Failure{Reason: ReasonUnknownClient})
		w.refused(w.id, wrong, Failure{Reason: ReasonWrongSecret, AccountID: w.id})
		w.refused(w.id, typo, Failure{Reason: ReasonMalformedSecret, AccountID: w.id})
		w.refused(w.id, identity.NewSecretValue(""), Failure{Reason: ReasonMalformedSecret, AccountID: w.id})

		_, err := w.auth.Authenticate(t.Context(), &Presented{ClientID: w.id}, w.clock.Now())
		if f, ok := errors.AsType[*Failure](err); !ok || f.Reason != ReasonNoCredentials || !fault.Is(err, fault.CodeInvalidClient) {
			t.Errorf("without credentials: %v", err)
		}
	})
}

func TestSecretEndsOnTime(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		id, text := w.newSecret(w.clock.Now().Add(time.Hour))
		w.clock.Advance(time.Hour - time.Microsecond)
		_, err := w.try(w.id, text)
		w.must(err)
		w.clock.Advance(time.Microsecond)
		w.refused(w.id, text, Failure{Reason: ReasonCredentialExpired, AccountID: w.id, CredentialID: id})
	})
}

func TestDeletedSecretAndAccountOpenNothing(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		id, text := w.newSecret(time.Time{})
		_, kept := w.newSecret(time.Time{})
		_, err := w.try(w.id, text)
		w.must(err)
		w.change(audit.ClientSecretDeleted, func(ctx context.Context, tx *store.Tx) error {
			return tx.DeleteClientSecret(ctx, w.id, id)
		})
		w.refused(w.id, text, Failure{Reason: ReasonWrongSecret, AccountID: w.id})
		_, err = w.try(w.id, kept)
		w.must(err)

		w.change(audit.AccountDeleted, func(ctx context.Context, tx *store.Tx) error {
			account, err := tx.ServiceAccount(ctx, w.id)
			if err != nil {
				return err
			}
			return tx.DeleteServiceAccount(ctx, account)
		})
		w.refused(w.id, kept, Failure{Reason: ReasonUnknownClient})
	})
}

func TestRotationLeavesBothSecretsUntilTheOldOneEnds(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		oldID, old := w.newSecret(time.Time{})
		_, text := w.newSecret(time.Time{})
		w.change(audit.ClientSecretRotated, func(ctx context.Context, tx *store.Tx) error {
			return tx.UpdateClientSecretExpiry(ctx, w.id, oldID, w.clock.Now().Add(time.Minute))
		})
		for _, s := range []identity.Secret{old, text} {
			_, err := w.try(w.id, s)
			w.must(err)
		}
		w.clock.Advance(time.Minute)
		w.refused(w.id, old, Failure{Reason: ReasonCredentialExpired, AccountID: w.id, CredentialID: oldID})
		_, err := w.try(w.id, text)
		w.must(err)
	})
}

func TestSecretMadeOnAnotherNodeSignsInAtOnce(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	clk := testkit.Clock(t)
	there := testkit.Open(t, url, clk)
	here, err := store.Open(t.Context(), store.Options{URL: url, Clock: clk, Elapsed: clk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close(context.Background()) })
	master, err := keyring.ParseMasterKeys(keyring.GenerateMasterKey(1))
	w := &world{t: t, clock: clk, store: there}
	w.must(err)
	w.keys, err = keyring.Open(t.Context(), there, master, clk, nil)
	w.must(err)
	w.must(w.keys.Bootstrap(t.Context()))
	keysHere, err := keyring.Open(t.Context(), here, master, clk, nil)
	w.must(err)
	w.auth = New(here, keysHere)

	account := identity.ServiceAccount{
		ID: identity.NewID(identity.PrefixServiceAccount, clk.Now()), Name: "agent", Kind: identity.KindAgent,
		Owner: "tests", Status: identity.StatusActive,
	}
	w.change(audit.AccountCreated, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertServiceAccount(ctx, &account)
	})
	w.id = account.ID
	// This node is not started: it hears of no change, as if a message were late.
	_, err = here.Principal(t.Context(), w.id) // cached here, without a secret
	w.must(err)
	_, text := w.newSecret(time.Time{})
	clk.Advance(time.Second) // no account is read anew more often
	_, err = w.try(w.id, text)
	w.must(err)
}
