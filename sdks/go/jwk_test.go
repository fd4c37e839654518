package marque

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

func TestKeysOfEachAlgorithmVerify(t *testing.T) {
	t.Parallel()
	for _, key := range []*signer{newES256(t, "a"), newEdDSA(t, "b"), newRS256(t, "c", 2048)} {
		public := key.public(t)
		good := key.sign("text")
		if public.alg != key.alg || !public.verify("text", good) {
			t.Errorf("%s: a good signature is refused", key.alg)
		}
		if public.verify("texx", good) || public.verify("text", append(good, 0)) || public.verify("text", good[1:]) || public.verify("text", nil) {
			t.Errorf("%s: a bad signature is accepted", key.alg)
		}
	}
}

func TestKeysThatMustNotBeUsedAreLeftOut(t *testing.T) {
	t.Parallel()
	ec, ed, rsa := newES256(t, "k").jwk, newEdDSA(t, "k").jwk, newRS256(t, "k", 2048).jwk
	for name, test := range map[string]struct {
		from   map[string]any
		change map[string]any
	}{
		"private":             {ec, map[string]any{"d": "AA"}},
		"private RSA":         {rsa, map[string]any{"p": "AA"}},
		"symmetric":           {map[string]any{}, map[string]any{"kty": "oct", "k": "AAAA", "kid": "k", "alg": "HS256"}},
		"for encryption":      {ec, map[string]any{"use": "enc"}},
		"only to sign":        {ec, map[string]any{"use": nil, "key_ops": []string{"sign"}}},
		"alg of another type": {ec, map[string]any{"alg": "RS256"}},
		"alg none":            {ec, map[string]any{"alg": "none"}},
		"alg ES384":           {ec, map[string]any{"alg": "ES384"}},
		"curve P-384":         {ec, map[string]any{"crv": "P-384"}},
		"no kid":              {ec, map[string]any{"kid": nil}},
		"kid a path":          {ec, map[string]any{"kid": "../k"}},
		"off the curve":       {ec, map[string]any{"x": ec["y"], "y": ec["x"]}},
		"at infinity":         {ec, map[string]any{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}},
		"short coordinate":    {ec, map[string]any{"x": "AQ"}},
		"padded":              {ec, map[string]any{"x": ec["x"].(string) + "="}},
		"short Ed25519":       {ed, map[string]any{"x": "AQ"}},
		"RSA of 1024 bits":    {newRS256(t, "k", 1024).jwk, nil},
		"RSA of 16384 bits":   {rsa, map[string]any{"n": b64([]byte(strings.Repeat("\xff", 2048)))}},
		"RSA, e even":         {rsa, map[string]any{"e": b64([]byte{4})}},
		"RSA, e 1":            {rsa, map[string]any{"e": b64([]byte{1})}},
		"RSA, e long":         {rsa, map[string]any{"e": b64([]byte{1, 0, 0, 0, 1})}},
		"no type":             {ec, map[string]any{"kty": nil}},
	} {
		jwk := maps.Clone(test.from)
		for member, value := range test.change {
			if jwk[member] = value; value == nil {
				delete(jwk, member)
			}
		}
		b, _ := json.Marshal(jwk)
		if readKey(string(b)) != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, text := range []string{"", "[]", `{"kty":"EC","kty":"EC"}`, strings.Repeat("[", 1000)} {
		if readKey(text) != nil {
			t.Errorf("%q: accepted", text)
		}
	}
}

// Each point on the list is one of small order: the standard library accepts a
// signature that needs no private key under it.
func TestEd25519PointsOfSmallOrderAreRefused(t *testing.T) {
	t.Parallel()
	for _, point := range smallOrderPoints {
		for _, sign := range []byte{0, 0x80} {
			point[31] = point[31]&0x7f | sign
			if !smallOrder(point[:]) {
				t.Errorf("%x is not found", point)
			}
			jwk, _ := json.Marshal(map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": b64(point[:])})
			if readKey(string(jwk)) != nil {
				t.Errorf("%x is accepted as a key", point)
			}
		}
		point[31] &= 0x7f
		// R = the neutral element, S = 0: good whenever the hash is a multiple of 8.
		signature := make([]byte, ed25519.SignatureSize)
		signature[0] = 1
		forged := false
		for n := uint64(0); n < 256 && !forged; n++ {
			forged = ed25519.Verify(point[:], binary.BigEndian.AppendUint64(nil, n), signature)
		}
		if !forged {
			t.Errorf("%x is not of small order", point)
		}
	}
}

func TestOfTwoKeysWithOneIDNeitherIsUsed(t *testing.T) {
	t.Parallel()
	var list []json.RawMessage
	for _, key := range []*signer{newES256(t, "a"), newES256(t, "b"), newES256(t, "a"), newES256(t, "a")} {
		b, _ := json.Marshal(key.jwk)
		list = append(list, b)
	}
	if keys := readKeys(list); len(keys) != 1 || keys["b"] == nil {
		t.Errorf("%d keys", len(keys))
	}
}
