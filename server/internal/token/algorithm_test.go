package token

import (
	"context"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
)

// algorithmOf is the algorithm in the header of a token that verifies.
func (w *world) algorithmOf(token string) jose.Algorithm {
	w.t.Helper()
	m, err := jose.Parse(token, jose.Rules{Typ: Type, Keys: w.keys.PublicKey})
	w.must(err)
	return m.Header.Algorithm
}

func TestTokensAreSignedByTheAlgorithmInForce(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		keeper := keyring.NewKeeper(w.keys)
		a := w.agent("reader")
		for i, alg := range []jose.Algorithm{jose.EdDSA, jose.RS256} {
			before := []jose.Algorithm{jose.ES256, jose.EdDSA}[i]
			key, err := w.keys.NewKey(string(alg))
			w.must(err)
			w.change(audit.SigningKeyCreated, func(ctx context.Context, tx *store.Tx) error {
				_, _, err := w.keys.Prepare(ctx, tx, string(alg), key)
				return err
			})
			r := a.request()
			r.ResourceServer.SigningAlg, r.ResourceServer.SigningAlgBefore = string(alg), string(before)
			m, err := w.issuer.Mint(r)
			w.must(err)
			if got := w.algorithmOf(m.Token); got != before {
				t.Errorf("%s before the key of %s is ready", got, alg)
			}
			w.clock.Advance(6 * time.Minute)
			w.must(keeper.Keep(t.Context()))
			r.Now = w.clock.Now()
			m, err = w.issuer.Mint(r)
			w.must(err)
			if got := w.algorithmOf(m.Token); got != alg {
				t.Errorf("%s although %s is ready", got, alg)
			}
			w.accepted(m.Token)
		}
	})
}

// The clock of a node may lag behind that of the one that rotated.
func TestATokenIsDatedWithinTheTimeOfItsKey(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, w *world) {
		keeper := keyring.NewKeeper(w.keys)
		first, err := w.keys.Signer(jose.ES256)
		w.must(err)
		w.clock.Advance(31 * 24 * time.Hour)
		w.must(keeper.Keep(t.Context()))
		second, err := w.keys.Signer(jose.ES256)
		w.must(err)
		if first.KeyID() == second.KeyID() {
			t.Fatal("nothing rotated")
		}
		kidAt := func(now time.Time) string {
			r := w.agent("a" + now.Format("150405")).request()
			r.Now = now
			m, err := w.issuer.Mint(r)
			w.must(err)
			parsed, err := jose.Parse(m.Token, jose.Rules{Typ: Type, Keys: w.keys.PublicKey})
			w.must(err)
			return parsed.Header.KeyID
		}
		if got := kidAt(second.Since); got != second.KeyID() {
			t.Errorf("%s signs at the moment of the rotation", got)
		}
		if got := kidAt(second.Since.Add(-5 * time.Second)); got != first.KeyID() {
			t.Errorf("%s signs what is dated before it", got)
		}
		r := w.agent("before-all").request()
		r.Now = first.Since.Add(-time.Second)
		if _, err := w.issuer.Mint(r); !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("dated before every key: %v", err)
		}
	})
}
