package keyring

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// hmacByHand is HMAC-SHA-256 as RFC 2104 section 2 defines it, for keys of at
// most one block, with nothing of crypto/hmac: what the server stores is held to
// the definition and not to the call that it makes.
func hmacByHand(key []byte, text string) [sha256.Size]byte {
	var inner, outer [sha256.BlockSize]byte
	copy(inner[:], key)
	copy(outer[:], key)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	sum := sha256.Sum256(append(inner[:], text...))
	return sha256.Sum256(append(outer[:], sum[:]...))
}

// RFC 4231 sections 4.2 to 4.5: the MAC depends on the whole key.
func TestMACsUnderAPepperAreThoseOfRFC4231(t *testing.T) {
	t.Parallel()
	counting := make([]byte, 25) // 01 02 … 19
	for i := range counting {
		counting[i] = byte(i + 1)
	}
	for name, c := range map[string]struct{ key, text, want string }{
		"case 1": {strings.Repeat("\x0b", 20), "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
		"case 2": {"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		"case 3": {strings.Repeat("\xaa", 20), strings.Repeat("\xdd", 50), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
		"case 4": {string(counting), strings.Repeat("\xcd", 50), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
	} {
		p := newPepper([]byte(c.key))
		for range 2 { // the state is used again
			if mac := p.mac(c.text); hex.EncodeToString(mac[:]) != c.want {
				t.Errorf("%s: %x", name, mac)
			}
		}
		if byHand := hmacByHand([]byte(c.key), c.text); hex.EncodeToString(byHand[:]) != c.want {
			t.Errorf("%s: this test computes %x", name, byHand)
		}
	}
}

// What is stored for a secret can be had only with the pepper that is sealed in
// the database: a stolen table of MACs is not a table of plain hashes, which
// whoever has it could search through for a secret.
func TestASecretsMACIsUnderTheSealedPepper(t *testing.T) {
	t.Parallel()
	const secret = "mqs_0123456789abcdefghijklmnopqrstuvwxyz0123456ABCDEF"
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		m := masterKeys(t, 1)
		k := bootstrapped(t, st, m)
		_, secrets := rowsOf(t, st)
		key, err := m.Open(PurposeSecret, pepperName, secrets[pepperName])
		if err != nil {
			t.Fatal(err)
		}
		got := k.SecretMAC(secret)
		if got != hmacByHand(key, secret) {
			t.Errorf("the MAC is %x, and not that of RFC 2104 under the sealed pepper", got)
		}
		if got == sha256.Sum256([]byte(secret)) || got == hmacByHand(nil, secret) {
			t.Error("the MAC can be had without the pepper")
		}
	})
}

// Two installations that have the same secret, and even the same master key,
// store different MACs of it.
func TestEachDatabaseHasItsOwnPepper(t *testing.T) {
	t.Parallel()
	m := masterKeys(t, 1)
	seen := map[[sha256.Size]byte]string{}
	for name, url := range map[string]string{
		"SQLite": testkit.SQLite(t), "another SQLite": testkit.SQLite(t),
		"PostgreSQL": testkit.Postgres(t), "another PostgreSQL": testkit.Postgres(t),
	} {
		mac := bootstrapped(t, testkit.Open(t, url, testkit.Clock(t)), m).SecretMAC("mqs_x")
		if other, twice := seen[mac]; twice {
			t.Errorf("%s and %s store the same MAC of a secret", name, other)
		}
		seen[mac] = name
	}
}
