package store_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// sealSomething puts a key and a secret into a database, under version 1.
func sealSomething(t *testing.T, s *store.Store) {
	t.Helper()
	write(t, s, func(tx *store.Tx) error {
		key := &store.SigningKey{
			ID: "key_1", Use: store.KeyUseToken, Algorithm: "ES256", State: store.KeyActive, PublicJWK: []byte("{}"),
			Private: store.Sealed{MasterVersion: 1, WrappedKey: []byte("old"), Ciphertext: []byte("private")},
		}
		if err := tx.InsertSigningKey(t.Context(), key); err != nil {
			return err
		}
		return tx.InsertSealedSecret(t.Context(), "pepper", store.Sealed{MasterVersion: 1, WrappedKey: []byte("old"), Ciphertext: []byte("pepper")})
	})
}

// wrapBoth wraps what sealSomething has sealed.
func wrapBoth(t *testing.T, s *store.Store, from, to int) error {
	t.Helper()
	return s.Rewrap(t.Context(), func(w *store.Rewrapping) error {
		w.Audit(audit.Event{Type: audit.MasterKeyRotated, Outcome: audit.Success, Actor: audit.ActorSystem})
		v := store.Sealed{MasterVersion: to, WrappedKey: []byte("new"), Ciphertext: []byte("private")}
		if err := w.SigningKey(t.Context(), "key_1", from, v); err != nil {
			return err
		}
		v.Ciphertext = []byte("pepper")
		return w.SealedSecret(t.Context(), "pepper", from, v)
	})
}

func stored(t *testing.T, s *store.Store) (key *store.SigningKey, pepper *store.Sealed) {
	t.Helper()
	err := s.View(t.Context(), func(r *store.Reader) (err error) {
		if key, err = r.SigningKey(t.Context(), "key_1"); err != nil {
			return err
		}
		pepper, err = r.SealedSecret(t.Context(), "pepper")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return key, pepper
}

func TestARotationWritesBesideARunningServer(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.OpenWith(t, store.Options{URL: url, Clock: testkit.Clock(t)})
		sealSomething(t, s)
		beside, err := store.Open(t.Context(), store.Options{URL: url, Clock: testkit.Clock(t), Beside: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = beside.Close(t.Context()) }()
		key, _ := stored(t, s)
		position := s.Snapshot()

		// The server writes all the while.
		stop, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					ended <- nil
					return
				default:
				}
				err := s.Maintain(t.Context(), func(m *store.Maintenance) error { return m.CleanUp(t.Context()) })
				if err != nil {
					ended <- err
					return
				}
			}
		}()
		for from := 1; from <= 5; from++ {
			if err := wrapBoth(t, beside, from, from+1); err != nil {
				t.Error(err)
			}
		}
		close(stop)
		if err := <-ended; err != nil {
			t.Errorf("the server's writes failed: %v", err)
		}
		after, pepper := stored(t, s)
		if after.Private.MasterVersion != 6 || string(after.Private.WrappedKey) != "new" || string(after.Private.Ciphertext) != "private" ||
			after.Version != key.Version || pepper.MasterVersion != 6 || string(pepper.Ciphertext) != "pepper" {
			t.Errorf("%+v, %+v", after, pepper)
		}
		if s.Snapshot() != position {
			t.Error("a change was announced")
		}
		// A row that was read before the rotation does not undo it.
		key.State = store.KeyRetired
		write(t, s, func(tx *store.Tx) error { return tx.UpdateSigningKey(t.Context(), key) })
		if again, _ := stored(t, s); again.Private.MasterVersion != 6 || again.State != store.KeyRetired {
			t.Errorf("%+v", again)
		}
	})
}

func TestARotationCanDoNothingElse(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.OpenWith(t, store.Options{URL: url, Clock: testkit.Clock(t)})
		sealSomething(t, s)
		beside, err := store.Open(t.Context(), store.Options{URL: url, Clock: testkit.Clock(t), Beside: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = beside.Close(t.Context()) }()
		for what, err := range map[string]error{
			"InTx":     beside.InTx(t.Context(), func(*store.Tx) error { return nil }),
			"Maintain": beside.Maintain(t.Context(), func(*store.Maintenance) error { return nil }),
			"Migrate":  beside.Migrate(t.Context()),
			"Start":    beside.Start(t.Context()),
		} {
			if err == nil {
				t.Errorf("%s works beside a server", what)
			}
		}
		// Nor without an event, nor for a row that is another one meanwhile.
		silent := beside.Rewrap(t.Context(), func(w *store.Rewrapping) error {
			return w.SigningKey(t.Context(), "key_1", 1, store.Sealed{MasterVersion: 2, WrappedKey: []byte("new"), Ciphertext: []byte("private")})
		})
		if silent == nil {
			t.Error("without an event")
		}
		if err := wrapBoth(t, beside, 2, 3); err == nil {
			t.Error("a row that is under another version")
		}
		other := beside.Rewrap(t.Context(), func(w *store.Rewrapping) error {
			w.Audit(audit.Event{Type: audit.MasterKeyRotated, Outcome: audit.Success, Actor: audit.ActorSystem})
			return w.SigningKey(t.Context(), "key_1", 1, store.Sealed{MasterVersion: 2, WrappedKey: []byte("new"), Ciphertext: []byte("foreign")})
		})
		if other == nil {
			t.Error("a row with another ciphertext")
		}
		failed := errors.New("failed")
		if err := beside.Rewrap(t.Context(), func(*store.Rewrapping) error { return failed }); !errors.Is(err, failed) {
			t.Error(err)
		}
		if err := beside.Rewrap(t.Context(), func(*store.Rewrapping) error { return nil }); err != nil {
			t.Errorf("nothing to do: %v", err)
		}
		if key, pepper := stored(t, s); key.Private.MasterVersion != 1 || !bytes.Equal(pepper.WrappedKey, []byte("old")) {
			t.Errorf("%+v, %+v", key, pepper)
		}
		reader, err := store.Open(t.Context(), store.Options{URL: url, Clock: testkit.Clock(t), ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = reader.Close(t.Context()) }()
		if err := wrapBoth(t, reader, 1, 2); err == nil {
			t.Error("a reader writes")
		}
	})
}

func TestNothingIsSealedUnderAnOlderVersionThanBefore(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		sealSomething(t, s)
		if err := wrapBoth(t, s, 1, 2); err != nil {
			t.Fatal(err)
		}
		late := store.Sealed{MasterVersion: 1, WrappedKey: []byte{1}, Ciphertext: []byte{2}}
		for _, version := range []int{1, 2} {
			late.MasterVersion = version
			key := tryWrite(t, s, func(tx *store.Tx) error {
				return tx.InsertSigningKey(t.Context(), &store.SigningKey{ID: "key_2", Use: store.KeyUseToken, Algorithm: "ES256", State: store.KeyRetired, Private: late, PublicJWK: []byte("{}")})
			})
			secret := tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertSealedSecret(t.Context(), "salt", late) })
			if version == 1 {
				wantKind(t, key, fault.KindUnavailable)
				wantKind(t, secret, fault.KindUnavailable)
			} else if key != nil || secret != nil {
				t.Errorf("under the newest: %v, %v", key, secret)
			}
		}
	})
}

func TestBesideNeverMakesADatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "marque.db")
	ctx := t.Context()
	s, err := store.Open(ctx, store.Options{URL: "sqlite:" + path, Clock: clock.System(), Beside: true})
	if err == nil {
		_ = s.Close(ctx)
		t.Fatal("it was opened")
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 || !strings.Contains(err.Error(), path) {
		t.Errorf("it left %q: %v", left, err)
	}
}
