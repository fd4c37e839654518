package identity_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"regexp"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/identity"
)

func TestClientSecretsPassTheirOwnCheckAndMatchThePublishedPattern(t *testing.T) {
	t.Parallel()
	pattern := regexp.MustCompile(`^` + identity.ClientSecretPattern + `$`)
	seen := map[string]bool{}
	for range 1000 {
		text := identity.GenerateClientSecret().Reveal()
		if err := identity.CheckClientSecret(text); err != nil {
			t.Fatalf("a generated secret is refused: %v", err)
		}
		if !pattern.MatchString(text) {
			t.Fatalf("a generated secret does not match %s", pattern)
		}
		if seen[text] {
			t.Fatal("the same secret twice")
		}
		seen[text] = true
	}
}

func TestClientSecretHoldsAllItsBits(t *testing.T) {
	t.Parallel()
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	ones := make([]int, 256)
	for range 400 {
		n := new(big.Int)
		for _, c := range identity.GenerateClientSecret().Reveal()[4:47] {
			n.Add(n.Mul(n, big.NewInt(62)), big.NewInt(int64(strings.IndexRune(alphabet, c))))
		}
		if n.BitLen() > 256 {
			t.Fatalf("%d bits in a secret of 256", n.BitLen())
		}
		for i := range ones {
			ones[i] += int(n.Bit(i))
		}
	}
	for i, n := range ones {
		if n == 0 || n == 400 {
			t.Errorf("bit %d of the secret is always the same", i)
		}
	}
}

func TestCheckClientSecretTellsATypoWithoutALookUp(t *testing.T) {
	t.Parallel()
	good := identity.GenerateClientSecret().Reveal()
	for i := len("mqs_"); i < len(good); i++ {
		typo := []byte(good)
		typo[i] = map[bool]byte{true: 'x', false: 'y'}[typo[i] != 'x']
		if err := identity.CheckClientSecret(string(typo)); !errors.Is(err, identity.ErrMalformedSecret) {
			t.Errorf("a typo at %d passes", i)
		}
	}
	for name, text := range map[string]string{
		"empty":         "",
		"prefix only":   "mqs_",
		"other prefix":  "mqk_" + good[4:],
		"upper prefix":  "MQS_" + good[4:],
		"too short":     good[:len(good)-1],
		"too long":      good + "0",
		"space":         good[:20] + " " + good[21:],
		"NUL":           good[:20] + "\x00" + good[21:],
		"not ASCII":     good[:20] + "é" + good[22:],
		"trailing line": good + "\n",
		"two swapped":   swap(good, 10),
	} {
		if err := identity.CheckClientSecret(text); !errors.Is(err, identity.ErrMalformedSecret) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

func swap(s string, i int) string {
	b := []byte(s)
	for b[i] == b[i+1] {
		i++
	}
	b[i], b[i+1] = b[i+1], b[i]
	return string(b)
}

func TestSecretNeverShowsItself(t *testing.T) {
	t.Parallel()
	const text = "mqs_this-must-not-be-seen"
	secret := identity.NewSecretValue(text)
	type holder struct {
		Public  identity.Secret
		private identity.Secret
		list    []identity.Secret
	}
	value := holder{secret, secret, []identity.Secret{secret}}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10v", "%T"} {
		for _, v := range []any{secret, &secret, value, &value, []identity.Secret{secret}, map[string]identity.Secret{"a": secret}} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	fmt.Fprintln(&out, secret, value, fmt.Errorf("failed with %v", secret))
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("msg", "secret", secret, "holder", value, "group", slog.GroupValue(slog.Any("s", secret)))
	}
	if err := json.NewEncoder(&out).Encode(map[string]any{"s": secret, "p": &secret, "h": value}); err != nil {
		t.Fatal(err)
	}
	if err := xml.NewEncoder(&out).Encode(secret); err != nil {
		t.Fatal(err)
	}

	hidden := fmt.Sprintf("%x", text)
	if s := out.String(); strings.Contains(s, text) || strings.Contains(strings.ToLower(s), hidden) {
		t.Errorf("the secret shows:\n%s", s)
	}
	if secret.Reveal() != text {
		t.Error("Reveal does not give the text")
	}
	if (identity.Secret{}).Reveal() != "" {
		t.Error("the zero secret has a text")
	}
}

func TestHintIsTheLastFourCharacters(t *testing.T) {
	t.Parallel()
	secret := identity.GenerateClientSecret()
	if got := identity.Hint(secret); len(got) != 4 || !strings.HasSuffix(secret.Reveal(), got) {
		t.Errorf("hint %q", got)
	}
	if got := identity.Hint(identity.NewSecretValue("abc")); got != "abc" {
		t.Errorf("hint of a short text %q", got)
	}
}

func FuzzCheckClientSecret(f *testing.F) {
	f.Add("")
	f.Add("mqs_0000000000000000000000000000000000000000000000000")
	f.Fuzz(func(t *testing.T, text string) {
		if identity.CheckClientSecret(text) != nil {
			return
		}
		if !regexp.MustCompile(`^` + identity.ClientSecretPattern + `$`).MatchString(text) {
			t.Errorf("%q passes the check and not the pattern", text)
		}
	})
}
