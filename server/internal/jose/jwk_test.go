package jose

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"math/big"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/fault"
)

// A point of RFC 7515 appendix A.3.
const (
	jwkX = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
	jwkY = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
	jwkD = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
)

func jwk(change map[string]any) []byte {
	m := map[string]any{"kty": "EC", "crv": "P-256", "x": jwkX, "y": jwkY, "kid": "key-1"}
	maps.Copy(m, change)
	for name, v := range m {
		if v == nil {
			delete(m, name)
		}
	}
	b, _ := json.Marshal(m)
	return b
}

func TestPublicKeysAreRead(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]map[string]any{
		"the least":        {},
		"all that is said": {"alg": "ES256", "use": "sig", "key_ops": []string{"verify"}},
		"more operations":  {"key_ops": []string{"verify", "sign"}},
		"unknown members":  {"x5t": "AAAA", "x5c": []string{"MIIB"}, "x5u": "https://evil.example/", "ext": true, "nested": map[string]any{"a": 1}},
	} {
		key, err := ParseJWK(jwk(change))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if key.KeyID() != "key-1" || key.Algorithm() != ES256 {
			t.Errorf("%s: read as %s %s", name, key.KeyID(), key.Algorithm())
		}
	}
}

func TestAKeyWithoutKidGetsItsThumbprint(t *testing.T) {
	t.Parallel()
	key, err := ParseJWK(jwk(map[string]any{"kid": nil}))
	if err != nil {
		t.Fatal(err)
	}
	if want := Thumbprint(key); key.KeyID() != want || len(want) != 43 {
		t.Errorf("kid %q, thumbprint %q", key.KeyID(), want)
	}
}

// Computed apart from this package: SHA-256 of the members crv, kty, x and y.
func TestTheThumbprintIsThatOfRFC7638(t *testing.T) {
	t.Parallel()
	key, err := ParseJWK(jwk(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Thumbprint(key), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"; got != want {
		t.Errorf("thumbprint %s, want %s", got, want)
	}
}

func TestARenderedKeyIsReadBack(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1").Public()
	again, err := ParseJWK(key.JWK())
	if err != nil {
		t.Fatal(err)
	}
	if !again.Equal(key) || Thumbprint(again) != Thumbprint(key) {
		t.Error("another key came back")
	}
	if again.Equal(newKey(t, "key-1").Public()) {
		t.Error("equal to another key with the same kid")
	}
	var m map[string]string
	if err := json.Unmarshal(key.JWK(), &m); err != nil {
		t.Fatal(err)
	}
	if len(m) != 7 || m["use"] != "sig" || m["alg"] != "ES256" || m["kid"] != "key-1" || m["kty"] != "EC" || m["crv"] != "P-256" {
		t.Errorf("rendered as %v", m)
	}
}

func TestUnusableKeysAreRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	flipped := func(text string) string { // another value of the same length
		b := []byte(text)
		b[10] ^= 1
		return string(b)
	}
	p := elliptic.P256().Params().P
	coordinate := func(n *big.Int) string { return encoding().EncodeToString(n.FillBytes(make([]byte, 32))) }
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change map[string]any
		says   string
	}{
		"private member d":       {map[string]any{"d": jwkD}, "private"},
		"private RSA member":     {map[string]any{"kty": "RSA", "dp": "AA"}, "private"},
		"symmetric":              {map[string]any{"kty": "oct", "k": "AAAA"}, "private"},
		"symmetric without k":    {map[string]any{"kty": "oct"}, "kty must be EC"},
		"point off the curve":    {map[string]any{"y": flipped(jwkY)}, "not a point"},
		"x and y swapped":        {map[string]any{"x": jwkY, "y": jwkX}, "not a point"},
		"origin":                 {map[string]any{"x": coordinate(big.NewInt(0)), "y": coordinate(big.NewInt(0))}, "not a point"},
		"x = p":                  {map[string]any{"x": coordinate(p)}, "not a point"},
		"x of 31 bytes":          {map[string]any{"x": jwkX[:42]}, "32 bytes"},
		"x of 33 bytes":          {map[string]any{"x": jwkX + "A"}, "32 bytes"},
		"x padded":               {map[string]any{"x": jwkX + "="}, "32 bytes"},
		"x with unused bits":     {map[string]any{"x": jwkX[:42] + "V"}, "32 bytes"},
		"x with a line end":      {map[string]any{"x": jwkX + "\n"}, "plain string"},
		"x missing":              {map[string]any{"x": nil}, "x is missing"},
		"y missing":              {map[string]any{"y": nil}, "y is missing"},
		"x a number":             {map[string]any{"x": 5}, "plain string"},
		"P-384":                  {map[string]any{"crv": "P-384"}, "P-256"},
		"secp256k1":              {map[string]any{"crv": "secp256k1"}, "P-256"},
		"no curve":               {map[string]any{"crv": nil}, "P-256"},
		"Ed25519 off the curve":  {map[string]any{"kty": "OKP", "crv": "Ed25519", "x": offEd25519(t)}, "not a point"},
		"Ed25519 y = p":          {map[string]any{"kty": "OKP", "crv": "Ed25519", "x": encodedPoint(almostAllOnes(0xed))}, "not a point"},
		"Ed25519 small order":    {map[string]any{"kty": "OKP", "crv": "Ed25519", "x": encodedPoint(smallOrderPoints()[2])}, "small order"},
		"Ed25519 of 31 bytes":    {map[string]any{"kty": "OKP", "crv": "Ed25519", "x": jwkX[:42]}, "32 bytes"},
		"Ed448":                  {map[string]any{"kty": "OKP", "crv": "Ed448"}, "Ed25519"},
		"RSA 1024":               {map[string]any{"kty": "RSA", "crv": nil, "n": encoding().EncodeToString(small.N.Bytes()), "e": "AQAB"}, "2048 to 8192"},
		"RSA of even modulus":    {map[string]any{"kty": "RSA", "n": encoding().EncodeToString(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes()), "e": "AQAB"}, "odd"},
		"RSA of exponent 1":      {map[string]any{"kty": "RSA", "n": encoding().EncodeToString(large.N.Bytes()), "e": "AQ"}, "at least 3"},
		"RSA of large exponent":  {map[string]any{"kty": "RSA", "n": encoding().EncodeToString(large.N.Bytes()), "e": "gAAAAQ"}, "below 2147483648"},
		"RSA with leading zero":  {map[string]any{"kty": "RSA", "n": encoding().EncodeToString(append([]byte{0}, large.N.Bytes()...)), "e": "AQAB"}, "leading zeros"},
		"RSA that says ES256":    {map[string]any{"kty": "RSA", "alg": "ES256", "n": encoding().EncodeToString(large.N.Bytes()), "e": "AQAB"}, "alg must be RS256"},
		"kty missing":            {map[string]any{"kty": nil}, "kty is missing"},
		"kty lower case":         {map[string]any{"kty": "ec"}, "kty must be EC"},
		"alg of another curve":   {map[string]any{"alg": "ES384"}, "alg must be ES256"},
		"alg none":               {map[string]any{"alg": "none"}, "alg must be ES256"},
		"alg a number":           {map[string]any{"alg": 1}, "alg must be ES256"},
		"for encryption":         {map[string]any{"use": "enc"}, "use must be sig"},
		"no verify operation":    {map[string]any{"key_ops": []string{"encrypt"}}, "key_ops"},
		"operations as text":     {map[string]any{"key_ops": "verify"}, "key_ops"},
		"kid a path":             {map[string]any{"kid": "../x"}, "kid"},
		"kid of 65":              {map[string]any{"kid": strings.Repeat("k", 65)}, "kid"},
		"kid empty":              {map[string]any{"kid": ""}, "kid"},
		"kid a number":           {map[string]any{"kid": 7}, "kid"},
		"longer than 16 KiB":     {map[string]any{"a": strings.Repeat("a", 16<<10)}, "longer than"},
		"nested":                 {map[string]any{"a": json.RawMessage(strings.Repeat("[", 9) + strings.Repeat("]", 9))}, "too deeply"},
		"twins of case":          {map[string]any{"KTY": "EC"}, "repeats"},
		"a private twin by case": {map[string]any{"D": jwkD, "d": jwkD}, "repeats"},
	}
	for name, c := range cases {
		_, err := ParseJWK(jwk(c.change))
		switch {
		case err == nil:
			t.Errorf("%s: taken", name)
		case !fault.Is(err, fault.CodeInvalidRequest):
			t.Errorf("%s: %v is not a fault of the request", name, err)
		case !strings.Contains(err.Error(), c.says):
			t.Errorf("%s: %q does not say %q", name, err, c.says)
		case strings.Contains(err.Error(), jwkD):
			t.Errorf("%s: the error shows the private member", name)
		}
	}
	for name, text := range map[string]string{
		"empty": "", "a list": "[]", "null": "null", "twice": `{"kty":"EC","kty":"EC"}`,
		"trailing": string(jwk(nil)) + "x", "a set": `{"keys":[` + string(jwk(nil)) + `]}`,
	} {
		if _, err := ParseJWK([]byte(text)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func encodedPoint(b [32]byte) string { return encoding().EncodeToString(b[:]) }

// offEd25519 is a y that no point of the curve has: half of all have none.
func offEd25519(t *testing.T) string {
	t.Helper()
	for n := range byte(100) {
		y := [32]byte{0: n, 1: 7}
		if !onEd25519(y[:]) {
			return encodedPoint(y)
		}
	}
	t.Fatal("every y is on the curve")
	return ""
}

func TestKeysAreNotPinnedToAnAlgorithmThatIsNotTheirs(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"RSA": &small.PublicKey, "nil": nil, "bytes": []byte("x")} {
		if _, err := NewPublicKey(ES256, "key-1", key); err == nil {
			t.Errorf("%s taken for ES256", name)
		}
	}
	for _, alg := range []Algorithm{"none", "HS256", "RS256", "ES384", "", "es256"} {
		if _, err := NewPublicKey(alg, "key-1", newKey(t, "key-1").public.key); err == nil {
			t.Errorf("a key taken for %q", alg)
		}
	}
}
