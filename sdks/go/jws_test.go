package marque

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// Each of these has a valid signature over what it says, so that only the
// strictness of the reader stands in the way.
func TestSignedAttacksAreRefused(t *testing.T) {
	t.Parallel()
	key := newES256(t, "key-1")
	i := newIssuer(key)
	v := i.verifier(t)
	jwk, _ := json.Marshal(key.jwk)
	head := func(alg, kid, typ string) string {
		return `{"alg":` + alg + `,"kid":` + kid + `,"typ":` + typ + `}`
	}
	with := func(member string) string { return strings.TrimSuffix(key.header(), "}") + "," + member + "}" }
	const alg, kid, typ = `"ES256"`, `"key-1"`, `"at+jwt"`
	deep := strings.Repeat(`{"a":`, 50) + "1" + strings.Repeat("}", 50)

	for name, test := range map[string]struct {
		header string
		reason Reason
	}{
		"alg none":           {head(`"none"`, kid, typ), ReasonAlgorithm},
		"alg None":           {head(`"None"`, kid, typ), ReasonAlgorithm},
		"alg nOnE":           {head(`"nOnE"`, kid, typ), ReasonAlgorithm},
		"alg in lower case":  {head(`"es256"`, kid, typ), ReasonAlgorithm},
		"alg ES384":          {head(`"ES384"`, kid, typ), ReasonAlgorithm},
		"alg HS256":          {head(`"HS256"`, kid, typ), ReasonAlgorithm},
		"alg of another key": {head(`"RS256"`, kid, typ), ReasonAlgorithm},
		"alg EdDSA":          {head(`"EdDSA"`, kid, typ), ReasonAlgorithm},
		"alg empty":          {head(`""`, kid, typ), ReasonMalformed},
		"alg missing":        {`{"kid":"key-1","typ":"at+jwt"}`, ReasonMalformed},
		"alg a number":       {head(`256`, kid, typ), ReasonMalformed},
		"alg a list":         {head(`["ES256"]`, kid, typ), ReasonMalformed},
		"alg escaped":        {head(`"\u0045S256"`, kid, typ), ReasonMalformed},
		"alg twice":          {`{"alg":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}`, ReasonMalformed},
		"alg and ALG":        {`{"ALG":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}`, ReasonMalformed},
		"alg, name escaped":  {`{"\u0061lg":"none","alg":"ES256","kid":"key-1","typ":"at+jwt"}`, ReasonMalformed},

		"kid missing":          {`{"alg":"ES256","typ":"at+jwt"}`, ReasonMalformed},
		"kid unknown":          {head(alg, `"key-2"`, typ), ReasonKeyUnknown},
		"kid a path":           {head(alg, `"../../dev/null"`, typ), ReasonMalformed},
		"kid SQL":              {head(alg, `"' OR 1=1 --"`, typ), ReasonMalformed},
		"kid with NUL":         {head(alg, `"key-1\u0000"`, typ), ReasonMalformed},
		"kid of 65 characters": {head(alg, `"`+strings.Repeat("k", 65)+`"`, typ), ReasonMalformed},
		"kid of 64 KiB":        {head(alg, `"`+strings.Repeat("k", 64<<10)+`"`, typ), ReasonMalformed},
		"kid twice":            {with(`"kid":"key-1"`), ReasonMalformed},
		"kid and Kelvin id":    {with("\"\u212aid\":\"key-1\""), ReasonMalformed},

		"jku":            {with(`"jku":"https://evil.example/keys"`), ReasonMalformed},
		"x5u":            {with(`"x5u":"https://evil.example/cert"`), ReasonMalformed},
		"jwk":            {with(`"jwk":` + string(jwk)), ReasonMalformed},
		"x5c":            {with(`"x5c":["MIIB"]`), ReasonMalformed},
		"crit":           {with(`"crit":["exp"],"exp":1`), ReasonMalformed},
		"b64 false":      {with(`"b64":false,"crit":["b64"]`), ReasonMalformed},
		"compressed":     {with(`"zip":"DEF"`), ReasonMalformed},
		"cty":            {with(`"cty":"JWT"`), ReasonMalformed},
		"unknown member": {with(`"x":"y"`), ReasonMalformed},

		"typ missing":    {`{"alg":"ES256","kid":"key-1"}`, ReasonType},
		"typ JWT":        {head(alg, kid, `"JWT"`), ReasonType},
		"typ DPoP":       {head(alg, kid, `"dpop+jwt"`), ReasonType},
		"typ upper case": {head(alg, kid, `"AT+JWT"`), ReasonType},
		"typ long form":  {head(alg, kid, `"application/at+jwt"`), ReasonType},
		"typ twice":      {with(`"typ":"at+jwt"`), ReasonMalformed},

		"a list":        {`["alg","ES256"]`, ReasonMalformed},
		"null":          {`null`, ReasonMalformed},
		"nested":        {with(`"a":` + deep), ReasonMalformed},
		"not JSON":      {`{alg:"ES256"}`, ReasonMalformed},
		"trailing":      {key.header() + `{}`, ReasonMalformed},
		"byte order":    {"\ufeff" + key.header(), ReasonMalformed},
		"latin-1":       {"{\"alg\":\"ES256\",\"kid\":\"key-1\",\"typ\":\"at+jwt\",\"\xe9\":\"\"}", ReasonMalformed},
		"with comments": {"/**/" + key.header(), ReasonMalformed},
	} {
		_, err := v.Verify(t.Context(), key.forge(test.header, i.claims(nil)), testAudience)
		refused(t, name, err, test.reason)
	}
	// Only the unknown kid was worth a request, and only the two that the rules allow.
	if n := i.fetches(); n > 2 {
		t.Errorf("%d requests for keys", n)
	}

	good := i.claims(nil)
	member := func(m string) string { return strings.TrimSuffix(good, "}") + "," + m + "}" }
	for name, payload := range map[string]string{
		"empty": ``, "not JSON": `foo`, "a list": `[1]`, "a string": `"x"`, "trailing": good + `{}`, "trailing comma": strings.TrimSuffix(good, "}") + ",}",
		"name twice": member(`"sub":"sa_2"`), "name twice, escaped": member(`"s\u0075b":"sa_2"`), "case twins": member(`"SUB":"sa_2"`),
		"long s twin": member("\"\u017fub\":\"sa_2\""), "twins inside": member(`"cnf":{"jkt":"a","JKT":"b"}`),
		"nested": member(`"a":` + deep), "nested lists": member(`"a":` + strings.Repeat("[", 50) + strings.Repeat("]", 50)),
		"huge number": member(`"a":1` + strings.Repeat("0", 400)), "number with zeros": member(`"a":01`), "NaN": member(`"a":NaN`),
		"lone surrogate": member(`"a":"\ud800"`), "not UTF-8": member("\"a\":\"\xff\""), "raw line end": member("\"a\":\"\n\""), "bad escape": member(`"a":"\x41"`),
		"more than 8 KiB": member(`"a":"` + strings.Repeat("a", 8<<10) + `"`), "65 members": `{` + strings.Repeat(`"x":1,`, 65) + `"y":1}`,
	} {
		_, err := v.Verify(t.Context(), key.forge(key.header(), payload), testAudience)
		refused(t, "payload "+name, err, ReasonMalformed)
	}
}

func TestSymmetricSignaturesWithThePublicKeyAreRefused(t *testing.T) {
	t.Parallel()
	key := newES256(t, "key-1")
	i := newIssuer(key)
	v := i.verifier(t)
	jwk, _ := json.Marshal(key.jwk)
	for _, alg := range []string{"HS256", "ES256"} {
		signing := b64([]byte(`{"alg":"`+alg+`","kid":"key-1","typ":"at+jwt"}`)) + "." + b64([]byte(i.claims(nil)))
		mac := hmac.New(sha256.New, jwk)
		mac.Write([]byte(signing))
		_, err := v.Verify(t.Context(), signing+"."+b64(mac.Sum(nil)), testAudience)
		refused(t, alg, err, map[string]Reason{"HS256": ReasonAlgorithm, "ES256": ReasonSignature}[alg])
	}
}

// The text around a good token is varied; only the token itself passes.
func TestOtherSpellingsOfAGoodTokenAreRefused(t *testing.T) {
	t.Parallel()
	key := newES256(t, "key-1")
	i := newIssuer(key)
	v := i.verifier(t)
	token := i.token(key, nil)
	if _, err := v.Verify(t.Context(), token, testAudience); err != nil {
		t.Fatal(err)
	}
	p := strings.Split(token, ".")
	for name, text := range map[string]string{
		"empty": "", "two parts": p[0] + "." + p[1], "no signature": p[0] + "." + p[1] + ".", "no header": "." + p[1] + "." + p[2],
		"four parts": token + ".", "five parts": token + ".a.b", "only dots": "..", "leading space": " " + token, "trailing line end": token + "\n",
		"CR LF inside": p[0] + "." + p[1] + "." + p[2][:10] + "\r\n" + p[2][10:], "padding": token + "==",
		"standard alphabet": p[0] + "." + p[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(p[2]) + "+",
		"NUL":               token + "\x00", "not UTF-8": token + "\xff", "Bearer": "Bearer " + token, "9 KiB": token + strings.Repeat("A", 9<<10),
		"JSON":         `{"protected":"` + p[0] + `","payload":"` + p[1] + `","signature":"` + p[2] + `"}`,
		"1 MiB header": strings.Repeat("A", 1<<20) + "." + p[1] + "." + p[2],
	} {
		if _, err := v.Verify(t.Context(), text, testAudience); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// The last of 86 characters has four unused bits: 16 spellings, 1 accepted.
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last, accepted := strings.IndexByte(alphabet, token[len(token)-1]), 0
	for unused := range 16 {
		if _, err := v.Verify(t.Context(), token[:len(token)-1]+string(alphabet[last&^15|unused]), testAudience); err == nil {
			accepted++
		}
	}
	if accepted != 1 {
		t.Errorf("%d of 16 spellings accepted, want 1", accepted)
	}
}

func TestSignaturesOutOfRangeAreRefused(t *testing.T) {
	t.Parallel()
	key := newES256(t, "key-1")
	i := newIssuer(key)
	v := i.verifier(t)
	signing := b64([]byte(key.header())) + "." + b64([]byte(i.claims(nil)))
	one := make([]byte, 32)
	one[31] = 1
	values := [][]byte{make([]byte, 32), one, elliptic.P256().Params().N.FillBytes(make([]byte, 32)), []byte(strings.Repeat("\xff", 32))}
	for _, r := range values {
		for _, s := range values {
			_, err := v.Verify(t.Context(), signing+"."+b64(append(append([]byte{}, r...), s...)), testAudience)
			refused(t, "out of range", err, ReasonSignature)
		}
	}
	for _, size := range []int{0, 1, 63, 65, 96, 132} {
		_, err := v.Verify(t.Context(), signing+"."+b64(make([]byte, size)), testAudience)
		refused(t, "length", err, ReasonSignature)
	}
	der := appendDER(nil, key.sign(signing))
	_, err := v.Verify(t.Context(), signing+"."+b64(der), testAudience)
	refused(t, "DER form", err, ReasonSignature)
}

func TestHostileTokensAreRefusedFast(t *testing.T) {
	t.Parallel()
	key := newES256(t, "key-1")
	i := newIssuer(key)
	v := i.verifier(t)
	_, _ = v.Verify(t.Context(), i.token(key, nil), testAudience)
	var names strings.Builder
	for n := range 800 {
		names.WriteString(`"` + string(rune('a'+n%26)) + strings.Repeat("b", n%7) + `":1,`)
	}
	for _, token := range []string{
		strings.Repeat("A", 1<<20), strings.Repeat(".", 8<<10),
		b64([]byte(`{"alg":"ES256","kid":"key-1","typ":"at+jwt",`)) + "." + strings.Repeat("e", 7<<10) + ".AA",
		key.forge(key.header(), "{"+names.String()+`"z":1}`),
		key.forge(key.header(), strings.Repeat(`{"a":`, 1000)),
	} {
		began := time.Now()
		for range 20 {
			_, _ = v.Verify(t.Context(), token, testAudience)
		}
		if each := time.Since(began) / 20; each > 5*time.Millisecond { // 1 ms, and room for a busy machine
			t.Errorf("%.20s… took %v", token, each)
		}
	}
}
