package identity_test

import (
	"crypto/rand"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func TestIDsSortByTheTimeOfTheirMaking(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 200 {
		ids = append(ids, identity.NewID(identity.PrefixRole, noon.Add(time.Duration(i)*time.Millisecond)))
	}
	if !slices.IsSorted(ids) {
		t.Error("later ids sort before earlier ones")
	}
	if slices.Sort(ids); len(slices.Compact(ids)) != 200 {
		t.Error("an id was made twice")
	}
}

func TestAnIDIsItsBitsInBase32(t *testing.T) {
	t.Parallel()
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	bits := [][16]byte{{}, {15: 1}, {0: 0x80}, {7: 0x10, 8: 0xf0}}
	for i := range bits[0] {
		bits[0][i] = 0xff
	}
	for range 200 {
		var b [16]byte
		_, _ = rand.Read(b[:])
		bits = append(bits, b)
	}
	for _, b := range bits {
		n, digit, want := new(big.Int).SetBytes(b[:]), new(big.Int), [26]byte{}
		for i := len(want) - 1; i >= 0; i-- {
			n.QuoRem(n, big.NewInt(32), digit)
			want[i] = alphabet[digit.Int64()]
		}
		if got := identity.FormatID(identity.PrefixToken, b); got != "tok_"+string(want[:]) {
			t.Errorf("%x is %s, want tok_%s", b, got, want)
		}
	}
}

func TestIDsOfOneMillisecondDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 5000 {
		seen[identity.NewID(identity.PrefixToken, noon)] = true
	}
	if len(seen) != 5000 {
		t.Errorf("%d different ids of 5000", len(seen))
	}
}

func TestParseIDTakesOnlyTheOneSpellingOfItsOwnPrefix(t *testing.T) {
	t.Parallel()
	good := identity.NewID(identity.PrefixServiceAccount, noon)
	for _, id := range []string{good, "sa_00000000000000000000000000", "sa_7zzzzzzzzzzzzzzzzzzzzzzzzz"} {
		if err := identity.ParseID(identity.PrefixServiceAccount, id); err != nil {
			t.Errorf("ParseID(%q): %v", id, err)
		}
	}
	for name, id := range map[string]string{
		"empty":              "",
		"prefix only":        "sa_",
		"no prefix":          good[3:],
		"another prefix":     "role_" + good[3:],
		"upper case":         strings.ToUpper(good),
		"upper body":         "sa_" + strings.ToUpper(good[3:]),
		"too short":          good[:len(good)-1],
		"too long":           good + "0",
		"over 128 bits":      "sa_8" + good[4:],
		"ambiguous letter i": "sa_0i" + good[5:],
		"ambiguous letter l": "sa_0l" + good[5:],
		"ambiguous letter o": "sa_0o" + good[5:],
		"letter u":           "sa_0u" + good[5:],
		"NUL":                good[:10] + "\x00" + good[11:],
		"slash":              good[:10] + "/" + good[11:],
		"path":               "sa_../../etc/passwd0000000000",
		"space before":       " " + good,
		"line after":         good + "\n",
		"two bytes a letter": good[:27] + "é",
	} {
		if err := identity.ParseID(identity.PrefixServiceAccount, id); !fault.Is(err, fault.CodeInvalidRequest) {
			t.Errorf("%s: ParseID(%q) = %v", name, id, err)
		}
	}
}

func TestBuiltInIDsAreIDs(t *testing.T) {
	t.Parallel()
	if err := identity.ParseID(identity.PrefixResourceServer, identity.ManagementResourceServerID); err != nil {
		t.Error(err)
	}
	for _, r := range identity.BuiltInRoles() {
		if err := identity.ParseID(identity.PrefixRole, r.ID); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("sa", "sa_00000000000000000000000000")
	f.Add("role", "role_7zzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Add("sa", "")
	canonical := regexp.MustCompile(`^[a-z]+_[0-7][0-9abcdefghjkmnpqrstvwxyz]{25}$`)
	f.Fuzz(func(t *testing.T, prefix, id string) {
		p := identity.Prefix(prefix)
		if !slices.Contains([]identity.Prefix{identity.PrefixServiceAccount, identity.PrefixRole}, p) {
			p = identity.PrefixToken
		}
		if identity.ParseID(p, id) == nil && (!canonical.MatchString(id) || !strings.HasPrefix(id, string(p)+"_")) {
			t.Errorf("ParseID(%q, %q) passes", p, id)
		}
	})
}

func TestAnIDTellsWhenItWasMade(t *testing.T) {
	t.Parallel()
	for _, at := range []time.Time{noon, noon.Add(999 * time.Millisecond), time.UnixMilli(0).UTC(), time.UnixMilli(1<<48 - 1).UTC()} {
		if got := identity.MadeAt(identity.NewID(identity.PrefixRequest, at)); !got.Equal(at) {
			t.Errorf("made at %s, read as %s", at, got)
		}
	}
}

func TestCredentialIDsAreThoseOfAllKinds(t *testing.T) {
	t.Parallel()
	for _, p := range identity.CredentialPrefixes() {
		if err := identity.ParseCredentialID(identity.NewID(p, noon)); err != nil {
			t.Error(err)
		}
	}
	for _, id := range []string{"", "sec_", identity.NewID(identity.PrefixRole, noon)} {
		if identity.ParseCredentialID(id) == nil {
			t.Errorf("%q is the id of a credential", id)
		}
	}
}
