package marque

import (
	"encoding/json"
	"strings"
	"testing"
)

// Whatever is accepted is in the one spelling, and other parsers read the same
// out of it.
func FuzzSplitToken(f *testing.F) {
	key := newES256(f, "key-1")
	for _, payload := range []string{`{}`, `{"sub":"a","aud":["b","c"],"exp":1790000000,"cnf":{"jkt":"x"}}`} {
		f.Add(key.forge(key.header(), payload))
	}
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(key.forge(`{"alg":"ES256","kid":"key-1","typ":"at+jwt","crit":["exp"]}`, `{}`))
	f.Fuzz(func(t *testing.T, token string) {
		parts, reason := splitToken(token)
		if reason != "" {
			return
		}
		head, _, _ := strings.Cut(token, ".")
		text, ok := decodeBase64(head)
		var h map[string]any
		if err := json.Unmarshal(text, &h); err != nil || !ok || len(h) != 3 || h["alg"] != parts.alg || h["kid"] != parts.kid || h["typ"] != tokenType {
			t.Fatalf("%q read as %+v (%v)", text, parts, err)
		}
		if again := head + "." + b64([]byte(parts.payload)) + "." + b64(parts.signature); again != token {
			t.Fatalf("a second spelling of %q accepted: %q", again, token)
		}
	})
}

// What is accepted the standard library accepts too, and it sees as many
// members with the same values: none was hidden by another.
func FuzzReadObject(f *testing.F) {
	for _, seed := range []string{`{"a":1,"A":2}`, `{"\u0061":[1,{"b":null}]}`, ` { "a" : "\ud83d\ude00" , "b":1e400} `, `{"a":{"b":"c"}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		members, ok := readObject(text, 8)
		if !ok {
			return
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &m); err != nil || len(m) != len(members) {
			t.Fatalf("%q: %d members, the standard library sees %d (%v)", text, len(members), len(m), err)
		}
		for _, member := range members {
			if string(m[member.name]) != strings.TrimRight(member.value, " \t\r\n") {
				t.Fatalf("%q: %q is %q, the standard library reads %q", text, member.name, member.value, m[member.name])
			}
			var s string
			if got, ok := stringValue(member.value); ok && (json.Unmarshal([]byte(member.value), &s) != nil || s != got) {
				t.Fatalf("%q: %q, the standard library reads %q", member.value, got, s)
			}
			var n int64
			if got, ok := integerValue(member.value); ok && (json.Unmarshal([]byte(member.value), &n) != nil || n != got) {
				t.Fatalf("%q: %d, the standard library reads %d", member.value, got, n)
			}
		}
	})
}

// Claims that are accepted are those that the standard library reads.
func FuzzReadClaims(f *testing.F) {
	i := newIssuer()
	f.Add(i.claims(nil))
	f.Add(i.claims(map[string]any{"aud": []string{"a", "b"}, "cnf": map[string]any{"jkt": "x"}}))
	f.Fuzz(func(t *testing.T, payload string) {
		p, ok := readClaims(payload)
		if !ok {
			return
		}
		var c struct {
			Iss, Sub, Jti, Scope string
			Exp, Gen             int64
			Roles                []string
		}
		if err := p.Claims(&c); err != nil || c.Iss != p.Issuer || c.Sub != p.Subject || c.Jti != p.TokenID || c.Exp != p.Expires.Unix() || c.Gen != p.Generation ||
			len(c.Roles) != len(p.Roles) || strings.Join(strings.Fields(c.Scope), " ") != strings.Join(p.Scopes, " ") {
			t.Fatalf("%q read as %+v, by the standard library as %+v (%v)", payload, p, c, err)
		}
	})
}

// A key that is accepted verifies nothing that is not a signature.
func FuzzReadKey(f *testing.F) {
	for _, key := range []*signer{newES256(f, "a"), newEdDSA(f, "b"), newRS256(f, "c", 2048)} {
		b, _ := json.Marshal(key.jwk)
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		key := readKey(text)
		if key == nil {
			return
		}
		if !json.Valid([]byte(text)) || !validKid(key.kid) || !algorithmKnown(key.alg) {
			t.Fatalf("%q accepted as %+v", text, key)
		}
		for _, size := range []int{0, 64, 256} {
			if key.verify("text", make([]byte, size)) {
				t.Fatalf("%q verifies zeros", text)
			}
		}
	})
}
