package keyring

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// keyFile is a master key file with the given lines.
type keyFile string

func newKeyFile(t testing.TB, lines ...string) keyFile {
	t.Helper()
	f := keyFile(filepath.Join(t.TempDir(), "master.key"))
	f.write(t, lines...)
	return f
}

func (f keyFile) write(t testing.TB, lines ...string) {
	t.Helper()
	if err := os.WriteFile(string(f), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (f keyFile) load(t testing.TB) *MasterKeys {
	t.Helper()
	m, err := LoadMasterKeys(string(f))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func rewrap(t testing.TB, st *store.Store, m *MasterKeys) Rewrapped {
	t.Helper()
	done, err := m.Rewrap(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// versionsOf counts the sealed rows by version.
func versionsOf(t testing.TB, st *store.Store) map[int]int {
	t.Helper()
	s, err := masterKeys(t, 1).Survey(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return s.Used
}

func TestARotationWrapsEveryRowAndTouchesNoCiphertext(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		one, two := GenerateMasterKey(1), GenerateMasterKey(2)
		old, _ := ParseMasterKeys(one)
		k := bootstrapped(t, st, old)
		mac := k.SecretMAC("x")
		setState(t, st, keyIn(t, st, store.KeyPrepared), store.KeyRevoked)
		jwks, _ := k.JWKS()
		before, pepperBefore := rowsOf(t, st)

		both, _ := ParseMasterKeys(one + "\n" + two)
		if diff := cmp.Diff(Rewrapped{Rows: 4, From: []int{1}, To: 2}, rewrap(t, st, both)); diff != "" {
			t.Error(diff)
		}
		after, pepperAfter := rowsOf(t, st)
		for i := range before {
			b, a := before[i].Private, after[i].Private
			if a.MasterVersion != 2 || !bytes.Equal(a.Ciphertext, b.Ciphertext) || bytes.Equal(a.WrappedKey, b.WrappedKey) || before[i].Version != after[i].Version {
				t.Errorf("%s was not wrapped, or more than that", before[i].ID)
			}
		}
		if b, a := pepperBefore[pepperName], pepperAfter[pepperName]; a.MasterVersion != 2 || !bytes.Equal(a.Ciphertext, b.Ciphertext) {
			t.Error("the pepper was not wrapped, or more than that")
		}

		// Neither is the old version needed, nor has anything changed.
		fresh, _ := ParseMasterKeys(two)
		again := open(t, st, fresh)
		if got, _ := again.JWKS(); again.SecretMAC("x") != mac || !bytes.Equal(got, jwks) {
			t.Error("the keys are others now")
		}
		survey, err := fresh.Survey(t.Context(), st)
		if err != nil || survey.Unopenable != nil || survey.Rows() != 4 {
			t.Errorf("%+v, %v", survey, err)
		}
		if diff := cmp.Diff(Rewrapped{To: 2}, rewrap(t, st, both)); diff != "" {
			t.Errorf("the second time: %s", diff)
		}
		if n := created(t, st)[audit.MasterKeyRotated]; n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestARotationGoesOnWhereItWasInterrupted(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		one, two := GenerateMasterKey(1), GenerateMasterKey(2)
		old, _ := ParseMasterKeys(one)
		k := bootstrapped(t, st, old)
		const more = 2*rewrapBatch - 4 + 1 // three transactions
		for range more {
			row, err := k.newKey(need{store.KeyUseToken, jose.ES256, store.KeyRetired})
			if err != nil {
				t.Fatal(err)
			}
			err = st.InTx(t.Context(), func(tx *store.Tx) error {
				tx.Audit(audit.Event{Type: audit.SigningKeyCreated, Outcome: audit.Success, Actor: audit.ActorSystem, Subject: row.ID})
				return tx.InsertSigningKey(t.Context(), &row)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		both, _ := ParseMasterKeys(one + "\n" + two)
		some := func(end error) error {
			return st.Rewrap(t.Context(), func(w *store.Rewrapping) error {
				if _, err := both.rewrapSome(t.Context(), w, 2); err != nil {
					return err
				}
				return end
			})
		}
		cut := errors.New("cut off")
		if err := some(cut); !errors.Is(err, cut) {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[int]int{1: more + 4}, versionsOf(t, st)); diff != "" {
			t.Errorf("after a transaction that was cut off: %s", diff)
		}
		if err := some(nil); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[int]int{1: more + 4 - rewrapBatch, 2: rewrapBatch}, versionsOf(t, st)); diff != "" {
			t.Errorf("after one transaction: %s", diff)
		}
		open(t, st, both) // both are readable meanwhile
		if diff := cmp.Diff(Rewrapped{Rows: more + 4 - rewrapBatch, From: []int{1}, To: 2}, rewrap(t, st, both)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(map[int]int{2: more + 4}, versionsOf(t, st)); diff != "" {
			t.Error(diff)
		}
		if n := created(t, st)[audit.MasterKeyRotated]; n != 3 {
			t.Errorf("%d events for 3 transactions", n)
		}
		if err := st.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestANodeWithAnOldFileGoesOnAndDoesNotStartAgain(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		one, two := GenerateMasterKey(1), GenerateMasterKey(2)
		file := newKeyFile(t, one)
		k := bootstrapped(t, st, file.load(t))
		mac := k.SecretMAC("x")
		both, _ := ParseMasterKeys(one + "\n" + two)
		rewrap(t, st, both)

		setState(t, st, keyIn(t, st, store.KeyPrepared), store.KeyRetired) // makes it read all rows anew
		if _, err := k.Signer(jose.ES256); err != nil || k.SecretMAC("x") != mac {
			t.Errorf("it stopped signing: %v", err)
		}
		if k.PublicKey(keyIn(t, st, store.KeyRetired)) == nil {
			t.Error("it has lost a key")
		}
		_, err := Open(t.Context(), st, file.load(t), testkit.Clock(t), nil)
		if err == nil || !strings.Contains(err.Error(), "version 2") || !strings.Contains(err.Error(), "(v1)") || !strings.Contains(err.Error(), string(file)) {
			t.Errorf("started again: %v", err)
		}
		// A key that it has never opened it cannot use, until the file has come.
		if err := k.Bootstrap(t.Context()); err == nil || !strings.Contains(err.Error(), "version 2") {
			t.Errorf("it made a key: %v", err)
		}
		file.write(t, one, two)
		if err := k.Bootstrap(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[int]int{2: 5}, versionsOf(t, st)); diff != "" {
			t.Error(diff)
		}
		if k.PublicKey(keyIn(t, st, store.KeyPrepared)) == nil {
			t.Error("the new key is not in use")
		}
		file.write(t, two)
		open(t, st, file.load(t))
	})
}

func TestAPreparedVersionSealsNothingBeforeTheRotation(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		one, two := GenerateMasterKey(1), GenerateMasterKey(2)
		old, _ := ParseMasterKeys(one)
		bootstrapped(t, st, old)
		both, _ := ParseMasterKeys(one + "\n" + two)
		prepared := open(t, st, both)
		setState(t, st, keyIn(t, st, store.KeyPrepared), store.KeyRetired)
		if err := prepared.Bootstrap(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[int]int{1: 5}, versionsOf(t, st)); diff != "" {
			t.Errorf("another node could not open it: %s", diff)
		}

		// What was sealed just before the rotation does not come in behind it.
		late, err := prepared.newKey(need{store.KeyUseToken, jose.ES256, store.KeyRetired})
		if err != nil {
			t.Fatal(err)
		}
		rewrap(t, st, both)
		err = st.InTx(t.Context(), func(tx *store.Tx) error { return tx.InsertSigningKey(t.Context(), &late) })
		if f := fault.From(err); f == nil || f.Kind != fault.KindUnavailable {
			t.Errorf("a row under the old version came in: %v", err)
		}
		err = st.InTx(t.Context(), func(tx *store.Tx) error {
			return tx.InsertSealedSecret(t.Context(), "salt", seal(t, old.OnlyNewest(), PurposeSecret, "salt", "x"))
		})
		if f := fault.From(err); f == nil || f.Kind != fault.KindUnavailable {
			t.Errorf("a secret under the old version came in: %v", err)
		}
	})
}

func TestTwoKeysUnderOneNumberDoNotMix(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		one := GenerateMasterKey(1)
		old, _ := ParseMasterKeys(one)
		bootstrapped(t, st, old)
		here, _ := ParseMasterKeys(one + "\n" + GenerateMasterKey(2))
		there, _ := ParseMasterKeys(one + "\n" + GenerateMasterKey(2))
		other := open(t, st, there)
		rewrap(t, st, here)
		before, _ := rowsOf(t, st)
		if _, err := there.Rewrap(t.Context(), st); err == nil || !strings.Contains(err.Error(), "version 2 of the master key does not open") {
			t.Errorf("the second key was used: %v", err)
		}
		setState(t, st, keyIn(t, st, store.KeyPrepared), store.KeyRetired)
		if err := other.Bootstrap(t.Context()); err == nil || !strings.Contains(err.Error(), "version 2 of the master key does not open") {
			t.Errorf("the second key was used: %v", err)
		}
		after, _ := rowsOf(t, st)
		if len(before) != len(after) {
			t.Errorf("%d keys, %d before", len(after), len(before))
		}
		open(t, st, here)
	})
}

func TestARotationStopsAtARowThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		one, two := GenerateMasterKey(1), GenerateMasterKey(2)
		old, _ := ParseMasterKeys(one)
		bootstrapped(t, st, old)
		wrong, _ := ParseMasterKeys(GenerateMasterKey(1) + "\n" + two)
		if _, err := wrong.Rewrap(t.Context(), st); err == nil || !strings.Contains(err.Error(), "version 1 of the master key does not open the signing key") {
			t.Errorf("a wrong key: %v", err)
		}
		missing, _ := ParseMasterKeys(two)
		if _, err := missing.Rewrap(t.Context(), st); err == nil || !strings.Contains(err.Error(), "add its line, v1:…") {
			t.Errorf("a missing version: %v", err)
		}
		newer, _ := ParseMasterKeys(one + "\n" + two)
		rewrap(t, st, newer)
		if _, err := old.OnlyNewest().Rewrap(t.Context(), st); err == nil || !strings.Contains(err.Error(), "version 2") {
			t.Errorf("an old file: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := newer.Rewrap(ctx, st); err == nil {
			t.Error("it worked although it was cancelled")
		}
		if diff := cmp.Diff(map[int]int{2: 4}, versionsOf(t, st)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAFileThatIsReadAgainMayOnlyAdd(t *testing.T) {
	t.Parallel()
	one, two, three := GenerateMasterKey(1), GenerateMasterKey(2), GenerateMasterKey(3)
	file := newKeyFile(t, one)
	m := file.load(t)
	file.write(t, GenerateMasterKey(1), two)
	if err := m.reread(); err == nil || !strings.Contains(err.Error(), "version 1 ") || m.Newest() != 1 {
		t.Errorf("another key under a known number: %v, newest %d", err, m.Newest())
	}
	for _, broken := range []string{"", "v2:nonsense"} {
		file.write(t, broken)
		if err := m.reread(); err == nil || m.Newest() != 1 {
			t.Errorf("a broken file: %v", err)
		}
	}
	file.write(t, two, three)
	if err := m.reread(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2, 3}, m.Versions()); diff != "" {
		t.Error(diff)
	}
}

func TestVersionsComeToTheFileAndLeaveIt(t *testing.T) {
	t.Parallel()
	one, two := GenerateMasterKey(1), GenerateMasterKey(2)
	for _, text := range []string{one, one + "\n", "# mine\n" + one + "\n"} {
		with, version, err := AddMasterKey(text)
		if err != nil || version != 2 || !strings.HasPrefix(with, text) {
			t.Errorf("%d, %v", version, err)
		}
		m, err := ParseMasterKeys(with)
		if err != nil || m.Newest() != 2 {
			t.Errorf("newest %d, %v", m.Newest(), err)
		}
	}
	for text, want := range map[string]string{
		"# mine\n" + one + "\n\n" + two + "\n": "# mine\n\n" + two + "\n",
		two + "\n" + one:                       two + "\n",
		one + "," + two:                        two + "\n",
		two + " , " + one + "\n# end\n":        two + "\n# end\n",
	} {
		got, err := DropMasterKey(text, 1)
		if err != nil || got != want {
			t.Errorf("dropping v1 left %d bytes, want %d: %v", len(got), len(want), err)
		}
	}
	for version, says := range map[int]string{2: "newest", 3: "not in it"} {
		if _, err := DropMasterKey(one+"\n"+two, version); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("dropping v%d: %v", version, err)
		}
	}
}
