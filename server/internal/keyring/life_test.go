package keyring

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// life is a keyring on a fake clock that keeper and store share.
type life struct {
	t      *testing.T
	clock  *clock.Fake
	store  *store.Store
	keys   *Keyring
	keeper *Keeper
}

func lives(t *testing.T, policy Policy, fn func(t *testing.T, l *life)) {
	t.Helper()
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t)
		l := &life{t: t, clock: clk, store: testkit.Open(t, url, clk)}
		var err error
		l.keys, err = Open(t.Context(), l.store, masterKeys(t, 1), clk, nil)
		l.must(err)
		l.keys.SetPolicy(policy)
		l.must(l.keys.Bootstrap(t.Context()))
		l.keeper = NewKeeper(l.keys)
		fn(t, l)
		l.must(l.store.Check(t.Context()))
	})
}

func (l *life) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *life) keep() {
	l.t.Helper()
	l.must(l.keeper.Keep(l.t.Context()))
}

func (l *life) rotate(expected string) (*Succession, error) {
	next, err := l.keys.NewKey("ES256")
	l.must(err)
	var done *Succession
	err = l.store.InTx(l.t.Context(), func(tx *store.Tx) (err error) {
		if done, err = l.keys.Rotate(l.t.Context(), tx, "ES256", expected, next); err == nil {
			tx.Audit(RotatedEvent("ES256", done))
		}
		return err
	})
	return done, err
}

func (l *life) revoke(kid string) (*Succession, bool) {
	l.t.Helper()
	next, err := l.keys.NewKey("ES256")
	l.must(err)
	var done *Succession
	var revoked bool
	l.must(l.store.InTx(l.t.Context(), func(tx *store.Tx) error {
		key, err := tx.SigningKey(l.t.Context(), kid)
		if err != nil {
			return err
		}
		was := key.State
		if done, revoked, err = l.keys.Revoke(l.t.Context(), tx, key, next); err == nil && revoked {
			tx.Audit(RevokedEvent(key, was, done))
		}
		return err
	}))
	return done, revoked
}

// prepare takes an algorithm into use.
func (l *life) prepare(alg jose.Algorithm) {
	l.t.Helper()
	next, err := l.keys.NewKey(string(alg))
	l.must(err)
	l.must(l.store.InTx(l.t.Context(), func(tx *store.Tx) error {
		kid, signs, err := l.keys.Prepare(l.t.Context(), tx, string(alg), next)
		if err == nil && (kid == "" || signs) {
			l.t.Errorf("prepared %q, signs: %t", kid, signs)
		}
		tx.Audit(CreatedEvent(string(alg), kid))
		return err
	}))
}

func (l *life) in(state store.KeyState) string { return keyIn(l.t, l.store, state) }

func (l *life) published(kid string) bool {
	body, _ := l.keys.JWKS()
	return strings.Contains(string(body), kid) && l.keys.PublicKey(kid) != nil
}

func TestAKeyIsPromotedOnceEveryVerifierCanKnowIt(t *testing.T) {
	for name, c := range map[string]struct{ maxAge, ready time.Duration }{
		"the default":   {5 * time.Minute, 6 * time.Minute},
		"an hour":       {time.Hour, time.Hour + time.Minute},
		"for the tests": {time.Second, 1200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			lives(t, Policy{MaxAge: c.maxAge}, func(t *testing.T, l *life) {
				active, prepared := l.in(store.KeyActive), l.in(store.KeyPrepared)
				l.clock.Advance(c.ready - time.Millisecond)
				_, err := l.rotate(active)
				if f := fault.From(err); f == nil || f.Code != fault.CodeSigningKeyNotReady || f.RetryAfter != time.Millisecond || f.Kind != fault.KindConflict {
					t.Fatalf("too early: %+v", f)
				}
				l.clock.Advance(time.Millisecond)
				if _, err := l.rotate(prepared); !fault.Is(err, fault.CodeActiveKeyChanged) {
					t.Errorf("another key was expected: %v", err)
				}
				done, err := l.rotate(active)
				l.must(err)
				if done.Active != prepared || done.Previous != active || done.Prepared != l.in(store.KeyPrepared) {
					t.Errorf("%+v", done)
				}
				for _, kid := range []string{active, prepared, done.Prepared} {
					if !l.published(kid) {
						t.Errorf("%s is not published", kid)
					}
				}
				if key, err := l.keys.Signer(jose.ES256); err != nil || key.KeyID() != prepared {
					t.Errorf("signs: %v", err)
				}
				if _, err := l.rotate(active); !fault.Is(err, fault.CodeActiveKeyChanged) {
					t.Errorf("again: %v", err)
				}
				if _, err := l.rotate(prepared); !fault.Is(err, fault.CodeSigningKeyNotReady) {
					t.Errorf("the next one at once: %v", err)
				}
				if n := created(t, l.store); n[audit.SigningKeyRotated] != 1 || n[audit.SigningKeyCreated] != 3 {
					t.Errorf("events %v", n)
				}
			})
		})
	}
}

func TestARetiredKeyIsPublishedUntilItsLastTokenHasExpired(t *testing.T) {
	lives(t, Policy{MaxAge: 5 * time.Minute}, func(t *testing.T, l *life) {
		old := l.in(store.KeyActive)
		l.clock.Advance(6 * time.Minute)
		_, err := l.rotate(old)
		l.must(err)
		_, before := l.keys.JWKS()
		l.clock.Advance(identity.MaxTokenLifetime + verifierSkew - time.Millisecond)
		l.keep()
		if _, etag := l.keys.JWKS(); !l.published(old) || etag != before {
			t.Error("it left too early")
		}
		l.clock.Advance(time.Millisecond)
		l.keep()
		if _, etag := l.keys.JWKS(); l.published(old) || etag == before {
			t.Error("it is still published")
		}
		l.must(l.keys.Reload(t.Context()))
		if l.published(old) {
			t.Error("it came back with a restart")
		}
		if key, err := l.keys.Signer(jose.ES256); err != nil || !l.published(key.KeyID()) || !l.published(l.in(store.KeyPrepared)) {
			t.Errorf("the others went too: %v", err)
		}
	})
}

func TestARevokedKeyIsGoneAtOnceAndReplaced(t *testing.T) {
	lives(t, DefaultPolicy(), func(t *testing.T, l *life) {
		active, prepared := l.in(store.KeyActive), l.in(store.KeyPrepared)
		done, _ := l.revoke(prepared)
		if done.Active != "" || done.Prepared == "" || l.published(prepared) || !l.published(active) || !l.published(done.Prepared) {
			t.Errorf("prepared: %+v", done)
		}
		// The heir is a moment old: it takes over all the same.
		heir := done.Prepared
		done, _ = l.revoke(active)
		if done.Active != heir || done.Prepared == "" || l.published(active) {
			t.Errorf("active: %+v", done)
		}
		if key, err := l.keys.Signer(jose.ES256); err != nil || key.KeyID() != heir {
			t.Errorf("signs: %v", err)
		}
		if done, revoked := l.revoke(active); revoked || done != nil {
			t.Errorf("revoked twice: %+v", done)
		}
		l.clock.Advance(6 * time.Minute)
		_, err := l.rotate(heir)
		l.must(err)
		if done, _ := l.revoke(heir); *done != (Succession{}) || l.published(heir) {
			t.Errorf("retired: %+v", done)
		}
		if n := created(t, l.store); n[audit.SigningKeyRevoked] != 3 || n[audit.SigningKeyRotated] != 1 || n[audit.SigningKeyCreated] != 3 {
			t.Errorf("events %v", n)
		}
		// Also after a restart, and whatever the keeper does.
		l.clock.Advance(100 * 24 * time.Hour)
		l.keep()
		l.must(l.keys.Reload(t.Context()))
		for _, kid := range []string{active, prepared, heir} {
			if l.published(kid) {
				t.Errorf("%s came back", kid)
			}
		}
	})
}

func TestKeysRotateBySchedule(t *testing.T) {
	lives(t, Policy{MaxAge: 5 * time.Minute, RotationInterval: time.Hour}, func(t *testing.T, l *life) {
		first := l.in(store.KeyActive)
		l.clock.Advance(time.Hour - time.Second)
		l.keep()
		if l.in(store.KeyActive) != first {
			t.Error("too early")
		}
		for hour := range 3 {
			l.clock.Advance(time.Hour)
			l.keep()
			l.keep()
			if n := created(t, l.store)[audit.SigningKeyRotated]; n != hour+1 {
				t.Errorf("%d rotations after %d hours", n, hour+1)
			}
		}
	})
}

func TestAScheduleWaitsUntilTheNextKeyIsReadyAndZeroIsNone(t *testing.T) {
	lives(t, Policy{MaxAge: 5 * time.Minute, RotationInterval: time.Minute}, func(t *testing.T, l *life) {
		first := l.in(store.KeyActive)
		l.clock.Advance(6*time.Minute - time.Second)
		l.keep()
		if l.in(store.KeyActive) != first {
			t.Error("a key signs that verifiers may not know")
		}
		l.clock.Advance(time.Second)
		l.keep()
		second := l.in(store.KeyActive)
		if second == first {
			t.Error("it never rotates")
		}
		l.keys.SetPolicy(Policy{MaxAge: 5 * time.Minute})
		l.clock.Advance(365 * 24 * time.Hour)
		l.keep()
		if l.in(store.KeyActive) != second {
			t.Error("rotated without a schedule")
		}
	})
}

func TestAnAlgorithmBeginsWhenItsFirstKeyIsReady(t *testing.T) {
	lives(t, Policy{MaxAge: 5 * time.Minute}, func(t *testing.T, l *life) {
		algorithms := []jose.Algorithm{jose.EdDSA, jose.RS256}
		for _, alg := range algorithms {
			l.prepare(alg)
		}
		if diff := cmp.Diff([]string{"ES256", "EdDSA", "RS256"}, l.keys.Algorithms()); diff != "" {
			t.Error(diff)
		}
		l.clock.Advance(6*time.Minute - time.Second)
		l.keep()
		for _, alg := range algorithms {
			if got := l.keys.Algorithm(string(alg), ""); got != jose.ES256 {
				t.Errorf("%s signs too early", got)
			}
			if got := l.keys.Algorithm(string(alg), "ES256"); got != jose.ES256 {
				t.Errorf("%s signs too early", got)
			}
		}
		l.must(l.store.Check(t.Context()))
		l.clock.Advance(time.Second)
		l.keep()
		for _, alg := range algorithms {
			if got := l.keys.Algorithm(string(alg), "ES256"); got != alg {
				t.Errorf("%s signs where %s could", got, alg)
			}
			key, err := l.keys.SignerAt(alg, l.clock.Now())
			l.must(err)
			signed, err := jose.Sign(key.PrivateKey, "at+jwt", []byte(`{}`))
			l.must(err)
			if _, err := jose.Parse(signed, jose.Rules{Typ: "at+jwt", Keys: l.keys.PublicKey}); err != nil {
				t.Error(err)
			}
		}
		// The one before is kept while the next is not ready.
		if got := l.keys.Algorithm("PS256", "EdDSA"); got != jose.EdDSA {
			t.Errorf("%s signs instead of the one before", got)
		}
	})
}

func TestAMissingPreparedKeyIsMade(t *testing.T) {
	lives(t, Policy{MaxAge: 5 * time.Minute}, func(t *testing.T, l *life) {
		prepared := l.in(store.KeyPrepared)
		setState(t, l.store, prepared, store.KeyRetired)
		if _, err := l.rotate(l.in(store.KeyActive)); !fault.Is(err, fault.CodeSigningKeyNotReady) {
			t.Errorf("rotated to nothing: %v", err)
		}
		l.keep()
		if l.in(store.KeyPrepared) == prepared {
			t.Error("the same key")
		}
	})
}

// A clock that lags uses the key of its own time; no token is dated before its
// key, and none between two keys whose first is revoked.
func TestEachDateHasItsKey(t *testing.T) {
	lives(t, Policy{MaxAge: 5 * time.Minute}, func(t *testing.T, l *life) {
		start := l.clock.Now()
		first := l.in(store.KeyActive)
		l.clock.Advance(6 * time.Minute)
		_, err := l.rotate(first)
		l.must(err)
		second := l.in(store.KeyActive)
		l.clock.Advance(6 * time.Minute)
		_, err = l.rotate(second)
		l.must(err)
		third := l.in(store.KeyActive)
		at := func(d time.Duration) string {
			key, err := l.keys.SignerAt(jose.ES256, start.Add(d))
			if err != nil {
				if !fault.Is(err, fault.CodeUnavailable) {
					t.Error(err)
				}
				return ""
			}
			return key.KeyID()
		}
		want := map[time.Duration]string{
			-time.Second: "", 0: first, 6*time.Minute - time.Second: first, 6 * time.Minute: second,
			12*time.Minute - time.Second: second, 12 * time.Minute: third, time.Hour: third,
		}
		for d, kid := range want {
			if got := at(d); got != kid {
				t.Errorf("after %s: %q, want %q", d, got, kid)
			}
		}
		l.revoke(second)
		if got := at(9 * time.Minute); got != "" {
			t.Errorf("%q signs what is dated before it or after its end", got)
		}
		if got := at(12 * time.Minute); got != third {
			t.Errorf("%q signs now", got)
		}
	})
}

func TestOfManyRotationsAtOnceOneHappens(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t)
		stores := []*store.Store{testkit.Open(t, url, clk)}
		if stores[0].Dialect() == "postgres" {
			stores = append(stores, testkit.Open(t, url, clk))
		}
		m := masterKeys(t, 1)
		nodes := make([]*life, len(stores))
		for i, st := range stores {
			nodes[i] = &life{t: t, clock: clk, store: st, keys: bootstrapped(t, st, m)}
			nodes[i].keys.clock = clk
			nodes[i].keeper = NewKeeper(nodes[i].keys)
		}
		clk.Advance(40 * 24 * time.Hour) // the schedules of both are due too
		active := nodes[0].in(store.KeyActive)
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range 30 {
			l := nodes[i%len(nodes)]
			wg.Go(func() {
				if i%10 == 9 {
					if err := l.keeper.Keep(context.WithoutCancel(t.Context())); err != nil {
						t.Error(err)
					}
					return
				}
				_, err := l.rotate(active)
				switch {
				case err == nil:
					mu.Lock()
					won++
					mu.Unlock()
				case !fault.Is(err, fault.CodeActiveKeyChanged):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won > 1 {
			t.Errorf("%d rotations of one key", won)
		}
		rows, _ := rowsOf(t, stores[0])
		want := wantKinds()
		want["token ES256 retired"] = 1
		if diff := cmp.Diff(want, kinds(rows)); diff != "" {
			t.Error(diff)
		}
		if n := created(t, stores[0])[audit.SigningKeyRotated]; n != 1 {
			t.Errorf("%d events", n)
		}
		if err := stores[0].Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
