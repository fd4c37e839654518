package keyring

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func open(t testing.TB, st *store.Store, m *MasterKeys) *Keyring {
	t.Helper()
	k, err := Open(t.Context(), st, m, testkit.Clock(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func bootstrapped(t testing.TB, st *store.Store, m *MasterKeys) *Keyring {
	t.Helper()
	k := open(t, st, m)
	if err := k.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

func rowsOf(t testing.TB, st *store.Store) (rows []store.SigningKey, secrets map[string]store.Sealed) {
	t.Helper()
	err := st.View(t.Context(), func(r *store.Reader) (err error) {
		if rows, err = r.SigningKeys(t.Context()); err != nil {
			return err
		}
		secrets, err = r.SealedSecrets(t.Context())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows, secrets
}

// kinds counts keys by use and state.
func kinds(rows []store.SigningKey) map[string]int {
	n := map[string]int{}
	for _, r := range rows {
		n[fmt.Sprintf("%s %s %s", r.Use, r.Algorithm, r.State)]++
	}
	return n
}

func wantKinds() map[string]int {
	return map[string]int{"token ES256 active": 1, "token ES256 prepared": 1, "checkpoint ES256 active": 1}
}

// created counts the events of the keys' making.
func created(t testing.TB, st *store.Store) map[audit.Type]int {
	t.Helper()
	n := map[audit.Type]int{}
	err := st.View(t.Context(), func(r *store.Reader) error {
		heads, _, err := r.AuditChains(t.Context(), store.Page{Size: 100})
		if err != nil {
			return err
		}
		for _, h := range heads {
			err := r.AuditLinks(t.Context(), h.Chain, func(l audit.Link) error {
				n[l.Event.Type]++
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestBootstrapMakesWhatIsMissingOnce(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		k := open(t, st, masterKeys(t, 1))
		if _, err := k.Signer(jose.ES256); err == nil {
			t.Error("a new database has a signing key")
		}
		if body, _ := k.JWKS(); string(body) != `{"keys":[]}` {
			t.Errorf("key set %s", body)
		}
		for range 3 {
			if err := k.Bootstrap(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		rows, secrets := rowsOf(t, st)
		if diff := cmp.Diff(wantKinds(), kinds(rows)); diff != "" {
			t.Error(diff)
		}
		if len(secrets) != 1 {
			t.Errorf("%d sealed secrets", len(secrets))
		}
		n := created(t, st)
		if n[audit.SigningKeyCreated] != 3 || n[audit.SealedSecretCreated] != 1 {
			t.Errorf("events %v", n)
		}

		key, err := k.Signer(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		token, err := jose.Sign(key.PrivateKey, "at+jwt", []byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jose.Parse(token, jose.Rules{Typ: "at+jwt", Keys: k.PublicKey}); err != nil {
			t.Error(err)
		}
		if _, err := k.Signer("RS256"); !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("an algorithm without key: %v", err)
		}
	})
}

func TestAKeyOfCheckpointsNeverSpeaksForTokens(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		k := bootstrapped(t, st, masterKeys(t, 1))
		key, err := k.CheckpointSigner()
		if err != nil {
			t.Fatal(err)
		}
		if k.PublicKey(key.KeyID()) != nil {
			t.Error("it is found among the keys of tokens")
		}
		if body, _ := k.JWKS(); strings.Contains(string(body), key.KeyID()) {
			t.Error("it is in the key set")
		}
		signer, err := k.Signer(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		if k.CheckpointKeys()[signer.KeyID()] != nil {
			t.Error("a key of tokens is found among those of checkpoints")
		}
	})
}

func TestKeysSurviveARestart(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		m, ctx := masterKeys(t, 1), t.Context()
		st, err := store.Open(ctx, store.Options{URL: url, Clock: testkit.Clock(t)})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Start(ctx); err != nil {
			t.Fatal(err)
		}
		k := bootstrapped(t, st, m)
		signer, err := k.Signer(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		body, etag := k.JWKS()
		mac := k.SecretMAC("mqs_x")
		if mac == k.SecretMAC("mqs_y") || mac == [32]byte{} {
			t.Error("the MAC does not depend on the text")
		}
		if err := st.Close(ctx); err != nil {
			t.Fatal(err)
		}

		k = bootstrapped(t, testkit.Open(t, url, testkit.Clock(t)), m)
		again, err := k.Signer(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		if !again.Public().Equal(signer.Public()) {
			t.Error("another key signs after the restart")
		}
		if b, e := k.JWKS(); string(b) != string(body) || e != etag {
			t.Error("another key set after the restart")
		}
		if k.SecretMAC("mqs_x") != mac {
			t.Error("stored client secrets would no longer match")
		}
	})
}

func TestAWrongMasterKeyStopsTheStart(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		bootstrapped(t, st, masterKeys(t, 1))
		for name, c := range map[string]struct {
			keys *MasterKeys
			says string
		}{
			"another key":     {masterKeys(t, 1), "version 1 of the master key does not open"},
			"another version": {masterKeys(t, 2), "version 1 of the master key, which is not among the known ones (v2)"},
		} {
			_, err := Open(t.Context(), st, c.keys, testkit.Clock(t), nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Two nodes on PostgreSQL; on SQLite, which has one node only, two keyrings.
func TestNodesThatStartAtOnceAgree(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		stores := []*store.Store{testkit.Open(t, url, testkit.Clock(t))}
		if stores[0].Dialect() == "postgres" {
			stores = append(stores, testkit.Open(t, url, testkit.Clock(t)))
		} else {
			stores = append(stores, stores[0])
		}
		m := masterKeys(t, 1)
		rings := make([]*Keyring, 8)
		for i := range rings {
			rings[i] = open(t, stores[i%2], m)
		}
		var wg sync.WaitGroup
		for _, k := range rings {
			wg.Go(func() {
				if err := k.Bootstrap(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		rows, _ := rowsOf(t, stores[0])
		if diff := cmp.Diff(wantKinds(), kinds(rows)); diff != "" {
			t.Error(diff)
		}
		if n := created(t, stores[0]); n[audit.SigningKeyCreated] != 3 {
			t.Errorf("%d events of 3 keys", n[audit.SigningKeyCreated])
		}
		want, etag := rings[0].JWKS()
		for _, k := range rings {
			if body, e := k.JWKS(); string(body) != string(want) || e != etag {
				t.Errorf("key sets differ: %s and %s", want, body)
			}
			if k.SecretMAC("x") != rings[0].SecretMAC("x") {
				t.Error("peppers differ")
			}
		}
	})
}

// setState moves a key in its life, as rotation and revocation will.
func setState(t testing.TB, st *store.Store, id string, state store.KeyState) {
	t.Helper()
	err := st.InTx(t.Context(), func(tx *store.Tx) error {
		row, err := tx.SigningKey(t.Context(), id)
		if err != nil {
			return err
		}
		tx.Audit(audit.Event{Type: audit.SigningKeyCreated, Outcome: audit.Success, Actor: audit.ActorSystem, Subject: id})
		if state == store.KeyRevoked {
			return tx.RevokeSigningKey(t.Context(), row)
		}
		row.State = state
		return tx.UpdateSigningKey(t.Context(), row)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func keyIn(t testing.TB, st *store.Store, state store.KeyState) string {
	t.Helper()
	rows, _ := rowsOf(t, st)
	for _, r := range rows {
		if r.Use == store.KeyUseToken && r.State == state {
			return r.ID
		}
	}
	t.Fatalf("no %s key", state)
	return ""
}

func TestAChangeOfAKeyCountsAtOnce(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		k := bootstrapped(t, st, masterKeys(t, 1))
		active, prepared := keyIn(t, st, store.KeyActive), keyIn(t, st, store.KeyPrepared)
		_, etag := k.JWKS()

		setState(t, st, active, store.KeyRetired)
		if k.PublicKey(active) == nil {
			t.Error("the tokens of a retired key are refused")
		}
		if _, err := k.Signer(jose.ES256); err == nil {
			t.Error("a retired key signs")
		}
		if _, e := k.JWKS(); e != etag {
			t.Error("the key set changed though the same keys are in it")
		}

		setState(t, st, prepared, store.KeyActive)
		if key, err := k.Signer(jose.ES256); err != nil || key.KeyID() != prepared {
			t.Errorf("the promoted key does not sign: %v", err)
		}

		setState(t, st, active, store.KeyRevoked)
		if k.PublicKey(active) != nil {
			t.Error("the tokens of a revoked key are accepted")
		}
		if body, e := k.JWKS(); strings.Contains(string(body), active) || e == etag {
			t.Error("a revoked key is published")
		}
	})
}

// On the node that changes a key, and on another one that hears of it.
func TestAChangeIsNotFeltByWhoUsesTheKeys(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		m := masterKeys(t, 1)
		writer := testkit.Open(t, url, testkit.Clock(t))
		rings := []*Keyring{bootstrapped(t, writer, m)}
		if writer.Dialect() == "postgres" {
			other := bootstrapped(t, testkit.Open(t, url, testkit.Clock(t)), m)
			rings = append(rings, other)
		}
		active, prepared := keyIn(t, writer, store.KeyActive), keyIn(t, writer, store.KeyPrepared)
		done := make(chan struct{})
		var wg sync.WaitGroup
		for _, k := range rings {
			wg.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					if err := k.Fresh(); err != nil {
						t.Error(err)
						return
					}
					if _, err := k.Signer(jose.ES256); err != nil || k.PublicKey(active) == nil {
						t.Errorf("the active key was gone: %v", err)
						return
					}
					runtime.Gosched()
				}
			})
		}
		for range 10 {
			setState(t, writer, prepared, store.KeyRetired)
			setState(t, writer, prepared, store.KeyPrepared)
		}
		close(done)
		wg.Wait()
	})
}

// Until a change could be loaded, no key is used: it may be the revoked one.
func TestAChangeThatCannotBeLoadedStopsTheKeys(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		clk := testkit.Clock(t)
		m := masterKeys(t, 1)
		k, err := Open(t.Context(), st, m, clk, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Bootstrap(t.Context()); err != nil {
			t.Fatal(err)
		}
		active, prepared := keyIn(t, st, store.KeyActive), keyIn(t, st, store.KeyPrepared)
		before, _ := k.JWKS()

		k.loading.Lock()
		k.master = masterKeys(t, 2) // as if another node had rotated the master key
		k.loading.Unlock()
		setState(t, st, active, store.KeyRevoked)
		if err := k.Fresh(); !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("fresh: %v", err)
		}
		if _, err := k.Signer(jose.ES256); !fault.Is(err, fault.CodeUnavailable) {
			t.Errorf("signer: %v", err)
		}
		if k.PublicKey(active) != nil || k.PublicKey(prepared) != nil {
			t.Error("keys are given out")
		}
		if body, _ := k.JWKS(); string(body) != string(before) {
			t.Error("the key set is no longer served")
		}

		k.loading.Lock()
		k.master = m
		k.loading.Unlock()
		if k.Fresh() == nil {
			t.Error("tried again at once")
		}
		clk.Advance(retryEvery)
		if err := k.Fresh(); err != nil {
			t.Error(err)
		}
		if k.PublicKey(active) != nil || k.PublicKey(prepared) == nil {
			t.Error("the change has not been loaded")
		}
	})
}

// A follower that was cut off asks for everything with an empty id.
func TestAReloadWithoutAnIDLoadsEverything(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		m := masterKeys(t, 1)
		bystander := open(t, st, m)
		k := bootstrapped(t, st, m)
		bystander.current.Store(&snapshot{})
		bystander.follow(t.Context(), "")
		if _, etag := bystander.JWKS(); etag == "" {
			t.Error("nothing was loaded")
		}
		if bystander.SecretMAC("x") != k.SecretMAC("x") {
			t.Error("another pepper")
		}
	})
}

func TestALostPepperIsNotReplaced(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		m := masterKeys(t, 1)
		lone := row(t, m, store.KeyUseToken, store.KeyActive)
		lone.CreatedAt, lone.ActivatedAt = time.Unix(1790000000, 0), time.Unix(1790000000, 0)
		err := st.InTx(t.Context(), func(tx *store.Tx) error {
			tx.Audit(audit.Event{Type: audit.SigningKeyCreated, Outcome: audit.Success, Actor: audit.ActorSystem, Subject: lone.ID})
			return tx.InsertSigningKey(t.Context(), &lone)
		})
		if err != nil {
			t.Fatal(err)
		}
		k := open(t, st, m)
		if err := k.Bootstrap(t.Context()); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("bootstrap: %v", err)
		}
		defer func() {
			if recover() == nil {
				t.Error("a MAC was made without a pepper")
			}
		}()
		k.SecretMAC("x")
	})
}

func TestMACsAreTheSameFromManyGoroutines(t *testing.T) {
	t.Parallel()
	p := newPepper([]byte("0123456789abcdef0123456789abcdef"))
	want := p.mac("mqs_x")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				if p.mac(fmt.Sprint(i)) == want || p.mac("mqs_x") != want {
					t.Error("MACs mixed up")
					return
				}
			}
		})
	}
	wg.Wait()
}
