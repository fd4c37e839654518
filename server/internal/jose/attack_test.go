package jose

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
)

const typ = "at+jwt"

func b64(s string) string { return encoding().EncodeToString([]byte(s)) }

// forge signs any header and payload, well-formed or not, with a true key.
func forge(t *testing.T, key *PrivateKey, header, payload string) string {
	t.Helper()
	signing := b64(header) + "." + b64(payload)
	signature, err := key.public.suite.signer.Sign(signing, key.signer)
	if err != nil {
		t.Fatal(err)
	}
	return signing + "." + encoding().EncodeToString(signature)
}

func newKey(t *testing.T, kid string) *PrivateKey {
	t.Helper()
	key, err := GenerateKey(ES256, kid)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rulesFor(keys ...*PrivateKey) Rules {
	return Rules{Typ: typ, Keys: func(kid string) *PublicKey {
		for _, k := range keys {
			if k.KeyID() == kid {
				return k.Public()
			}
		}
		return nil
	}}
}

// refused checks that the error is the one that every refusal gives.
func refused(t *testing.T, name string, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: accepted", name)
	case !errors.Is(err, ErrInvalid) || err.Error() != ErrInvalid.Error():
		t.Errorf("%s: error %q, want the one of all refusals", name, err)
	case Reason(err) == "":
		t.Errorf("%s: no reason for the log", name)
	}
}

const goodHeader = `{"alg":"ES256","kid":"key-1","typ":"at+jwt"}`

// Each of these carries a valid signature over what it says, so that only the
// strictness of the parser stands in the way.
func TestSignedAttacksAreRefusedAlike(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	with := func(member string) string { return strings.TrimSuffix(goodHeader, "}") + "," + member + "}" }
	deep := strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 50)

	headers := map[string]string{
		"alg none":              `{"alg":"none","kid":"key-1","typ":"at+jwt"}`,
		"alg None":              `{"alg":"None","kid":"key-1","typ":"at+jwt"}`,
		"alg nOnE":              `{"alg":"nOnE","kid":"key-1","typ":"at+jwt"}`,
		"alg lower case":        `{"alg":"es256","kid":"key-1","typ":"at+jwt"}`,
		"alg of another curve":  `{"alg":"ES384","kid":"key-1","typ":"at+jwt"}`,
		"alg of another family": `{"alg":"RS256","kid":"key-1","typ":"at+jwt"}`,
		"alg HS256":             `{"alg":"HS256","kid":"key-1","typ":"at+jwt"}`,
		"alg empty":             `{"alg":"","kid":"key-1","typ":"at+jwt"}`,
		"alg missing":           `{"kid":"key-1","typ":"at+jwt"}`,
		"alg a number":          `{"alg":256,"kid":"key-1","typ":"at+jwt"}`,
		"alg null":              `{"alg":null,"kid":"key-1","typ":"at+jwt"}`,
		"alg a list":            `{"alg":["ES256"],"kid":"key-1","typ":"at+jwt"}`,
		"alg escaped":           `{"alg":"\u0045S256","kid":"key-1","typ":"at+jwt"}`,
		"alg name escaped":      `{"\u0061lg":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}`,
		"alg twice":             `{"alg":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}`,
		"alg and ALG":           `{"ALG":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}`,
		"ALG alone":             `{"ALG":"ES256","kid":"key-1","typ":"at+jwt"}`,

		"kid missing":          `{"alg":"ES256","typ":"at+jwt"}`,
		"kid empty":            `{"alg":"ES256","kid":"","typ":"at+jwt"}`,
		"kid unknown":          `{"alg":"ES256","kid":"key-2","typ":"at+jwt"}`,
		"kid a path":           `{"alg":"ES256","kid":"../../dev/null","typ":"at+jwt"}`,
		"kid SQL":              `{"alg":"ES256","kid":"' OR 1=1 --","typ":"at+jwt"}`,
		"kid with NUL":         `{"alg":"ES256","kid":"key-1\u0000","typ":"at+jwt"}`,
		"kid with raw NUL":     "{\"alg\":\"ES256\",\"kid\":\"key-1\x00\",\"typ\":\"at+jwt\"}",
		"kid with line end":    `{"alg":"ES256","kid":"key-1\n","typ":"at+jwt"}`,
		"kid of 65 characters": `{"alg":"ES256","kid":"` + strings.Repeat("k", 65) + `","typ":"at+jwt"}`,
		"kid of 64 KiB":        `{"alg":"ES256","kid":"` + strings.Repeat("k", 64<<10) + `","typ":"at+jwt"}`,
		"kid twice":            `{"alg":"ES256","kid":"key-2","kid":"key-1","typ":"at+jwt"}`,
		"kid and Kelvin id":    `{"alg":"ES256","kid":"key-1","typ":"at+jwt","` + "\u212a" + `id":"key-1"}`,
		"kid an object":        `{"alg":"ES256","kid":{"a":"key-1"},"typ":"at+jwt"}`,

		"jku":             with(`"jku":"https://evil.example/keys"`),
		"x5u":             with(`"x5u":"https://evil.example/cert"`),
		"jwk":             with(`"jwk":` + string(key.Public().JWK())),
		"jwk as string":   with(`"jwk":"x"`),
		"x5c":             with(`"x5c":["MIIB"]`),
		"x5t":             with(`"x5t":"AAAA"`),
		"crit exp":        with(`"crit":["exp"],"exp":1`),
		"crit unknown":    with(`"crit":["http://example.com/x"],"http://example.com/x":true`),
		"crit empty":      with(`"crit":[]`),
		"b64 false":       with(`"b64":false,"crit":["b64"]`),
		"b64 true":        with(`"b64":true`),
		"compressed":      with(`"zip":"DEF"`),
		"cty":             with(`"cty":"JWT"`),
		"unknown member":  with(`"x":"y"`),
		"empty name":      with(`"":"y"`),
		"typ missing":     `{"alg":"ES256","kid":"key-1"}`,
		"typ empty":       `{"alg":"ES256","kid":"key-1","typ":""}`,
		"typ JWT":         `{"alg":"ES256","kid":"key-1","typ":"JWT"}`,
		"typ DPoP":        `{"alg":"ES256","kid":"key-1","typ":"dpop+jwt"}`,
		"typ upper case":  `{"alg":"ES256","kid":"key-1","typ":"AT+JWT"}`,
		"typ long form":   `{"alg":"ES256","kid":"key-1","typ":"application/at+jwt"}`,
		"typ twice":       `{"alg":"ES256","kid":"key-1","typ":"JWT","typ":"at+jwt"}`,
		"header a list":   `["alg","ES256"]`,
		"header a string": `"alg"`,
		"header null":     `null`,
		"header nested":   with(`"a":` + deep),
		"header not JSON": `{alg:"ES256"}`,
		"header trailing": goodHeader + `{}`,
		"header with BOM": "\ufeff" + goodHeader,
		"header latin-1":  "{\"alg\":\"ES256\",\"kid\":\"key-1\",\"typ\":\"at+jwt\",\"\xe9\":\"\"}",
		"header comment":  "/**/" + goodHeader,
	}
	for name, header := range headers {
		_, err := Parse(forge(t, key, header, `{"iss":"https://a.example"}`), rulesFor(key))
		refused(t, name, err)
	}

	payloads := map[string]string{
		"empty":                  ``,
		"not JSON":               `foo`,
		"a list":                 `[1]`,
		"a string":               `"x"`,
		"trailing":               `{"a":1}{"a":1}`,
		"trailing comma":         `{"a":1,}`,
		"name twice":             `{"sub":"a","sub":"b"}`,
		"name twice, escaped":    `{"sub":"a","s\u0075b":"b"}`,
		"case twins":             `{"sub":"a","SUB":"b"}`,
		"long s twin":            `{"sub":"a","` + "\u017f" + `ub":"b"}`,
		"twins inside":           `{"cnf":{"jkt":"a","JKT":"b"}}`,
		"nested":                 deep,
		"nested lists":           `{"a":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`,
		"huge number":            `{"exp":1` + strings.Repeat("0", 400) + `}`,
		"number with zeros":      `{"exp":01}`,
		"number NaN":             `{"exp":NaN}`,
		"number hex":             `{"exp":0x10}`,
		"number with plus":       `{"exp":+1}`,
		"lone surrogate":         `{"sub":"\ud800"}`,
		"not UTF-8":              "{\"sub\":\"\xff\"}",
		"raw line end":           "{\"sub\":\"a\nb\"}",
		"bad escape":             `{"sub":"\x41"}`,
		"more than 8 KiB":        `{"a":"` + strings.Repeat("a", 8<<10) + `"}`,
		"compressed":             "\x1f\x8b\x08\x00",
		"unterminated":           `{"sub":"a"`,
		"unterminated in string": `{"sub":"a`,
	}
	for name, payload := range payloads {
		_, err := Parse(forge(t, key, goodHeader, payload), rulesFor(key))
		refused(t, "payload "+name, err)
	}
}

// The text around a good token is varied; only the token itself passes.
func TestOtherSpellingsOfAGoodTokenAreRefused(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	token, err := Sign(key, typ, []byte(`{"sub":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(token, rulesFor(key)); err != nil {
		t.Fatalf("the token itself: %v (%s)", err, Reason(err))
	}
	parts := strings.Split(token, ".")
	join := func(p ...string) string { return strings.Join(p, ".") }
	spellings := map[string]string{
		"empty":              "",
		"two parts":          join(parts[0], parts[1]),
		"no signature":       join(parts[0], parts[1], ""),
		"no header":          join("", parts[1], parts[2]),
		"four parts":         join(parts[0], parts[1], parts[2], ""),
		"five parts":         join(parts[0], parts[1], parts[2], "a", "b"),
		"only dots":          "..",
		"leading space":      " " + token,
		"trailing space":     token + " ",
		"trailing line end":  token + "\n",
		"CR LF inside":       join(parts[0], parts[1], parts[2][:10]+"\r\n"+parts[2][10:]),
		"LF in the header":   join(parts[0][:4]+"\n"+parts[0][4:], parts[1], parts[2]),
		"padding":            token + "==",
		"standard alphabet":  join(parts[0], parts[1], strings.NewReplacer("-", "+", "_", "/").Replace(parts[2])+"+"),
		"NUL":                token + "\x00",
		"not UTF-8":          token + "\xff",
		"JSON serialization": `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"Bearer":             "Bearer " + token,
		"9 KiB":              token + strings.Repeat("A", 9<<10),
		"1 MiB header":       strings.Repeat("A", 1<<20) + "." + parts[1] + "." + parts[2],
	}
	for name, text := range spellings {
		_, err := Parse(text, rulesFor(key))
		refused(t, name, err)
	}

	// The last of 86 characters has four unused bits: 16 spellings, 1 accepted.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	accepted := 0
	for unused := range 16 {
		text := token[:len(token)-1] + string(alphabet[last&^15|unused])
		if _, err := Parse(text, rulesFor(key)); err == nil {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("%d of 16 spellings accepted, want 1", accepted)
	}
}

func TestSignaturesOutOfRangeAreRefused(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	n := elliptic.P256().Params().N.FillBytes(make([]byte, 32))
	zero, one, ones := make([]byte, 32), make([]byte, 32), make([]byte, 32)
	one[31] = 1
	for i := range ones {
		ones[i] = 0xff
	}
	values := map[string][]byte{"0": zero, "1": one, "n": n, "2^256-1": ones}
	signing := b64(goodHeader) + "." + b64(`{}`)
	for rName, r := range values {
		for sName, s := range values {
			signature := append(append([]byte{}, r...), s...)
			_, err := Parse(signing+"."+encoding().EncodeToString(signature), rulesFor(key))
			refused(t, "r="+rName+" s="+sName, err)
		}
	}
	for _, size := range []int{0, 1, 63, 65, 96, 132} {
		_, err := Parse(signing+"."+encoding().EncodeToString(make([]byte, size)), rulesFor(key))
		refused(t, "length", err)
	}
	digest := sha256.Sum256([]byte(signing))
	der, err := key.signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse(signing+"."+encoding().EncodeToString(der), rulesFor(key))
	refused(t, "DER form", err)
}

func TestATokenOfAnotherKeyIsRefused(t *testing.T) {
	t.Parallel()
	ours, theirs := newKey(t, "key-1"), newKey(t, "key-1")
	token, err := Sign(theirs, typ, []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse(token, rulesFor(ours))
	refused(t, "same kid, other key", err)
	_, err = Parse(token, Rules{Typ: typ})
	refused(t, "no keys", err)
	// A lookup that answers with a key of another id is not believed, even if it is
	// the one that has signed.
	renamed, err := ParseJWK([]byte(strings.Replace(string(theirs.Public().JWK()), `"key-1"`, `"key-2"`, 1)))
	if err != nil || renamed.KeyID() != "key-2" {
		t.Fatal(renamed, err)
	}
	if _, err = Parse(token, rulesFor(theirs)); err != nil {
		t.Errorf("by its own id: %v", err)
	}
	_, err = Parse(token, Rules{Typ: typ, Keys: func(string) *PublicKey { return renamed }})
	refused(t, "lookup by something else", err)
}

// Nobody signs a header that is longer than it need be; what is, is not decoded.
func TestALongHeaderIsRefusedAlthoughSigned(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	padded := func(spaces int) error {
		_, err := Parse(forge(t, key, `{"alg":"ES256","kid":"key-1","typ":"at+jwt"`+strings.Repeat(" ", spaces)+`}`, `{}`), rulesFor(key))
		return err
	}
	if err := padded(100); err != nil {
		t.Errorf("a header of some 200 bytes: %v", err)
	}
	refused(t, "a header of some 600 bytes", padded(400))
}

// The lookup sees only text that may be a key of a map.
func TestOnlyWellFormedKidsAreLookedUp(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	for _, kid := range []string{"../x", "a b", "a'b", "", strings.Repeat("k", 65), "é", "a.b"} {
		asked := false
		_, err := Parse(forge(t, key, `{"alg":"ES256","kid":"`+kid+`","typ":"at+jwt"}`, `{}`),
			Rules{Typ: typ, Keys: func(string) *PublicKey { asked = true; return key.Public() }})
		refused(t, kid, err)
		if asked {
			t.Errorf("kid %q was looked up", kid)
		}
	}
}
