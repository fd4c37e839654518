package store_test

import (
	"testing"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func tokenKey(id, algorithm string, state store.KeyState) *store.SigningKey {
	return &store.SigningKey{
		ID: id, Use: store.KeyUseToken, Algorithm: algorithm, State: state, PublicJWK: []byte("{}"),
		Private: store.Sealed{MasterVersion: 1, WrappedKey: []byte{1}, Ciphertext: []byte{2}},
	}
}

func TestARevokedKeyNeverComesBack(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		key := tokenKey("sig_1", "ES256", store.KeyActive)
		write(t, s, func(tx *store.Tx) error { return tx.InsertSigningKey(t.Context(), key) })
		key.State = store.KeyRevoked
		if err := tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateSigningKey(t.Context(), key) }); err == nil {
			t.Error("revoked in passing")
		}
		write(t, s, func(tx *store.Tx) error { return tx.RevokeSigningKey(t.Context(), key) })
		if key.RevokedAt.IsZero() {
			t.Error("revoked at no time")
		}
		for _, state := range []store.KeyState{store.KeyPrepared, store.KeyActive, store.KeyRetired} {
			again := *key
			again.State = state
			wantCode(t, tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateSigningKey(t.Context(), &again) }), fault.CodePreconditionFailed)
		}
		view(t, s, func(r *store.Reader) error {
			got, err := r.SigningKey(t.Context(), key.ID)
			if err == nil && (got.State != store.KeyRevoked || got.RevokedAt.IsZero()) {
				t.Errorf("%+v", got)
			}
			return err
		})
	})
}

func TestKeysOfTokensAreListedByAlgorithmAndState(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		checkpoint := tokenKey("sig_0", "ES256", store.KeyActive)
		checkpoint.Use = store.KeyUseCheckpoint
		for _, key := range []*store.SigningKey{
			checkpoint, tokenKey("key_1", "ES256", store.KeyRetired), tokenKey("sig_2", "ES256", store.KeyActive),
			tokenKey("sig_3", "ES256", store.KeyPrepared), tokenKey("sig_4", "EdDSA", store.KeyPrepared),
		} {
			write(t, s, func(tx *store.Tx) error { return tx.InsertSigningKey(t.Context(), key) })
		}
		for want, f := range map[string]store.SigningKeyFilter{
			"key_1 sig_2 sig_3 sig_4": {},
			"key_1 sig_2 sig_3":       {Algorithm: "ES256"},
			"sig_3 sig_4":             {State: store.KeyPrepared},
			"sig_4":                   {Algorithm: "EdDSA", State: store.KeyPrepared},
			"":                        {Algorithm: "EdDSA", State: store.KeyActive},
		} {
			got, at := "", store.Page{Size: 2}
			for more := true; more; {
				view(t, s, func(r *store.Reader) error {
					keys, further, err := r.TokenKeys(t.Context(), f, at)
					for _, k := range keys {
						got, at.After = got+" "+k.ID, k.ID
					}
					more = further
					return err
				})
			}
			if want != "" {
				want = " " + want
			}
			if got != want {
				t.Errorf("%+v: %q, want %q", f, got, want)
			}
		}
		view(t, s, func(r *store.Reader) error {
			if _, err := r.SigningKeyIn(t.Context(), "RS256", store.KeyActive); !fault.Is(err, fault.CodeNotFound) {
				t.Errorf("an algorithm without keys: %v", err)
			}
			key, err := r.SigningKeyIn(t.Context(), "ES256", store.KeyActive)
			if err == nil && key.ID != "sig_2" {
				t.Errorf("found %s", key.ID)
			}
			return err
		})
	})
}
