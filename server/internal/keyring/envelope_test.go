package keyring

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/store"
)

func masterKeys(t testing.TB, versions ...int) *MasterKeys {
	t.Helper()
	var lines []string
	for _, v := range versions {
		lines = append(lines, GenerateMasterKey(v))
	}
	keys, err := ParseMasterKeys(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func seal(t testing.TB, m *MasterKeys, purpose Purpose, id, plaintext string) store.Sealed {
	t.Helper()
	v, err := m.Seal(purpose, id, []byte(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhatIsSealedOpens(t *testing.T) {
	t.Parallel()
	m := masterKeys(t, 1, 3, 2)
	for _, plaintext := range []string{"", "a", strings.Repeat("long ", 1000)} {
		v := seal(t, m, PurposeToken, "key_1", plaintext)
		if v.MasterVersion != 3 {
			t.Errorf("sealed under version %d, want the newest", v.MasterVersion)
		}
		got, err := m.Open(PurposeToken, "key_1", v)
		if err != nil || string(got) != plaintext {
			t.Errorf("opened %q, %v", got, err)
		}
		again := seal(t, m, PurposeToken, "key_1", plaintext)
		if bytes.Equal(v.WrappedKey, again.WrappedKey) || bytes.Equal(v.Ciphertext, again.Ciphertext) {
			t.Error("two seals are alike: data key or nonce was used twice")
		}
	}
}

func TestAnAlteredSealDoesNotOpen(t *testing.T) {
	t.Parallel()
	m := masterKeys(t, 1)
	const plaintext = "the private key"
	v := seal(t, m, PurposeToken, "key_1", plaintext)
	for name, field := range map[string]func(*store.Sealed) *[]byte{
		"wrapped key": func(s *store.Sealed) *[]byte { return &s.WrappedKey },
		"ciphertext":  func(s *store.Sealed) *[]byte { return &s.Ciphertext },
	} {
		whole := *field(&v)
		var altered [][]byte
		for i := range whole {
			b := slices.Clone(whole)
			b[i] ^= 1
			altered = append(altered, b)
		}
		altered = append(altered, nil, whole[:5], whole[:len(whole)-1], append(slices.Clone(whole), 0))
		for i, b := range altered {
			bad := v
			*field(&bad) = b
			_, err := m.Open(PurposeToken, "key_1", bad)
			if err == nil {
				t.Errorf("%s, alteration %d: opened", name, i)
			} else if strings.Contains(err.Error(), plaintext) || !strings.Contains(err.Error(), "key_1") {
				t.Errorf("%s: error %q", name, err)
			}
		}
	}
}

func TestASealBelongsToItsRowAndPurpose(t *testing.T) {
	t.Parallel()
	m := masterKeys(t, 1, 2)
	one, two := seal(t, m, PurposeToken, "key_1", "first"), seal(t, m, PurposeToken, "key_2", "second")
	mixed := one
	mixed.WrappedKey = two.WrappedKey
	crossed := one
	crossed.Ciphertext = one.WrappedKey
	version := one
	version.MasterVersion = 1
	for name, c := range map[string]struct {
		purpose Purpose
		id      string
		v       store.Sealed
	}{
		"row copied over another":    {PurposeToken, "key_2", one},
		"another purpose":            {PurposeAudit, "key_1", one},
		"a sealed secret as key":     {PurposeSecret, "key_1", one},
		"data key of another row":    {PurposeToken, "key_1", mixed},
		"wrapped key as ciphertext":  {PurposeToken, "key_1", crossed},
		"another master key version": {PurposeToken, "key_1", version},
		"id and purpose run on":      {"tok", "enkey_1", one},
	} {
		if _, err := m.Open(c.purpose, c.id, c.v); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestTheErrorNamesTheVersionThatIsWanted(t *testing.T) {
	t.Parallel()
	v := seal(t, masterKeys(t, 7), PurposeToken, "key_1", "x")
	_, err := masterKeys(t, 1, 2).Open(PurposeToken, "key_1", v)
	if err == nil || !strings.Contains(err.Error(), "version 7") || !strings.Contains(err.Error(), "(v1, v2)") {
		t.Errorf("missing version: %v", err)
	}
	_, err = masterKeys(t, 7).Open(PurposeToken, "key_1", v)
	if err == nil || !strings.Contains(err.Error(), "version 7 of the master key does not open the signing key key_1") {
		t.Errorf("wrong key: %v", err)
	}
	_, err = masterKeys(t, 7).Open(PurposeSecret, "pepper", v)
	if err == nil || !strings.Contains(err.Error(), "the sealed secret pepper") {
		t.Errorf("sealed secret: %v", err)
	}
}

func TestMasterKeysAreNotPrinted(t *testing.T) {
	t.Parallel()
	m := masterKeys(t, 2, 1)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, m); got != "master key versions [1 2]" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}
