package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// fixedKey is the key of RFC 6979 appendix A.2.5, so that the tokens in the
// corpus stay valid from run to run.
func fixedKey(tb testing.TB) *PrivateKey {
	tb.Helper()
	d, _ := hex.DecodeString("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := newPrivateKey(ES256, "key-1", private)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// Whatever is accepted is, byte for byte, in the one spelling, and what other
// parsers read out of it is the same.
func FuzzParse(f *testing.F) {
	key := fixedKey(f)
	for _, payload := range []string{`{}`, `{"sub":"a","aud":["b","c"],"exp":1790000000,"cnf":{"jkt":"x"}}`, `{"é":"\ud83d\ude00"}`} {
		token, err := Sign(key, typ, []byte(payload))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(token)
	}
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	rules := rulesFor(key)
	f.Fuzz(func(t *testing.T, token string) {
		m, err := Parse(token, rules)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || err.Error() != ErrInvalid.Error() || m != nil {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if !json.Valid(m.Payload) {
			t.Fatalf("payload %q accepted", m.Payload)
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 || parts[1] != encoding().EncodeToString(m.Payload) {
			t.Fatalf("second spelling accepted: %q", token)
		}
	})
}

// Whatever is accepted is a point on P-256, renders, and reads back as itself.
func FuzzParseJWK(f *testing.F) {
	f.Add(jwk(nil))
	f.Add(jwk(map[string]any{"kid": nil, "alg": "ES256", "use": "sig", "key_ops": []string{"verify"}}))
	f.Add(jwk(map[string]any{"d": jwkD}))
	f.Add([]byte(`{"kty":"RSA","n":"AQAB","e":"AQAB"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		key, err := ParseJWK(b)
		if err != nil {
			return
		}
		again, err := ParseJWK(key.JWK())
		if err != nil || !again.Equal(key) {
			t.Fatalf("%q rendered as %q: %v", b, key.JWK(), err)
		}
		if checkP256(key.key) != nil {
			t.Fatalf("%q is not on the curve", b)
		}
	})
}

// What the scanner accepts the standard library accepts too, and it sees as
// many members: none was hidden by another.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{`{"a":1,"A":2}`, `{"\u0061":[1,{"b":null}]}`, `"\ud83d\ude00"`, `1e400`, `{"a":{"b":"c"}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if CheckJSON(b, 8) != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("%q accepted", b)
		}
		members, err := ParseObject(b, 8)
		if err != nil {
			return
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(b, &m); err != nil || len(m) != len(members) {
			t.Fatalf("%q: %d members, the standard library sees %d (%v)", b, len(members), len(m), err)
		}
		for _, member := range members {
			if string(m[member.Name]) != string(member.Value) {
				t.Fatalf("%q: member %q is %q, the standard library reads %q", b, member.Name, member.Value, m[member.Name])
			}
		}
	})
}
