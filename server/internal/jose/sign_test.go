package jose

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func TestASignedMessageComesBack(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	for _, size := range []int{0, 1, 2, 3, 765, 766, 767, 768, 769, 770, 1536, 5000} {
		payload := []byte(`{"a":"` + strings.Repeat("x", size) + `"}`)
		token, err := Sign(key, typ, payload)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(token, rulesFor(key))
		if err != nil {
			t.Fatalf("%d bytes: %v (%s)", size, err, Reason(err))
		}
		want := &Message{Header: Header{ES256, "key-1", typ}, Payload: payload}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d bytes: %s", size, diff)
		}
	}
}

// RFC 6979 appendix A.2.5, P-256 with SHA-256, message "sample".
func TestSignaturesAreThoseOfRFC6979(t *testing.T) {
	t.Parallel()
	d, _ := hex.DecodeString("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721")
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		t.Fatal(err)
	}
	got, err := deterministicES256{}.Sign("sample", private)
	if err != nil {
		t.Fatal(err)
	}
	const want = "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" +
		"f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
	if hex.EncodeToString(got) != want {
		t.Errorf("signature %x, want %s", got, want)
	}
	if _, err := (deterministicES256{}).Sign("sample", "not a key"); err == nil {
		t.Error("signed with what is not a key")
	}
}

// Short integers are the rare case of DER; 2,000 signatures meet it many times.
func TestSignaturesOfAnyDERFormVerify(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	for i := range 2000 {
		token, err := Sign(key, typ, fmt.Appendf(nil, `{"n":%d}`, i))
		if err != nil {
			t.Fatal(err)
		}
		if i%40 != 0 { // verifying is the slow part
			if len(token)-strings.LastIndexByte(token, '.')-1 != 86 {
				t.Fatalf("message %d has a signature of another length", i)
			}
			continue
		}
		if _, err := Parse(token, rulesFor(key)); err != nil {
			t.Fatalf("message %d: %v (%s)", i, err, Reason(err))
		}
	}
	for _, der := range []string{
		"", "30", "3000", "300602010102", "30060201010201", "3106020101020101", "3007020101020101",
		"30080201010201010000", "30050200020101", "300602017f030101",
		"3026" + "0222" + "00" + strings.Repeat("11", 33) + "0200",
	} {
		b, _ := hex.DecodeString(der)
		if _, err := rawP256(b); err == nil {
			t.Errorf("DER %s taken", der)
		}
	}
	// r of 31 bytes and s with the zero that keeps it positive.
	b, _ := hex.DecodeString("3044" + "021f" + strings.Repeat("11", 31) + "0221" + "00" + strings.Repeat("ff", 32))
	raw, err := rawP256(b)
	if want := "00" + strings.Repeat("11", 31) + strings.Repeat("ff", 32); err != nil || hex.EncodeToString(raw) != want {
		t.Errorf("got %x, %v", raw, err)
	}
}

func TestOtherLibrariesVerifyOurTokens(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	token, err := Sign(key, typ, []byte(`{"sub":"a","iss":"https://a.example"}`))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return key.public.key, nil },
		jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer("https://a.example"))
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Header["typ"] != typ || parsed.Header["kid"] != "key-1" || len(parsed.Header) != 3 {
		t.Errorf("header %v", parsed.Header)
	}
}

// The registry of golang-jwt belongs to its other users too.
func TestTheRegistryOfGolangJWTIsUntouched(t *testing.T) {
	t.Parallel()
	if got := jwt.GetSigningMethod("ES256"); !reflect.DeepEqual(got, jwt.SigningMethodES256) {
		t.Errorf("ES256 is registered as %T", got)
	}
}

func TestAKeySignsAnyTypeFromManyGoroutines(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			typ := []string{"at+jwt", "audit-checkpoint+jwt"}[i%2]
			for range 20 {
				token, err := Sign(key, typ, []byte(`{}`))
				if err != nil {
					t.Error(err)
					return
				}
				rules := rulesFor(key)
				rules.Typ = typ
				if _, err := Parse(token, rules); err != nil {
					t.Errorf("%s: %v (%s)", typ, err, Reason(err))
				}
			}
		})
	}
	wg.Wait()
	for _, bad := range []string{"", `a"b`, "a b", strings.Repeat("a", 65)} {
		if _, err := Sign(key, bad, []byte(`{}`)); err == nil {
			t.Errorf("signed with typ %q", bad)
		}
	}
}

func TestPrivateKeysSurviveStorageAndStayHidden(t *testing.T) {
	t.Parallel()
	key := newKey(t, "key-1")
	der, err := key.MarshalPKCS8()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePKCS8(ES256, "key-1", der)
	if err != nil {
		t.Fatal(err)
	}
	if !again.Public().Equal(key.Public()) {
		t.Error("another key came back")
	}
	d, _ := key.signer.(*ecdsa.PrivateKey).Bytes()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(verb, key)
		if strings.Contains(text, hex.EncodeToString(d)) || text != "private key key-1" {
			t.Errorf("%s prints %q", verb, text)
		}
	}
	for name, bad := range map[string][]byte{"empty": nil, "cut": der[:len(der)-1], "noise": []byte("noise")} {
		if _, err := ParsePKCS8(ES256, "key-1", bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := ParsePKCS8("RS256", "key-1", der); err == nil {
		t.Error("an EC key taken for RS256")
	}
	if _, err := GenerateKey(ES256, "../x"); err == nil {
		t.Error("a kid that is a path was taken")
	}
}

const benchmarkPayload = `{"iss":"https://id.example.com","sub":"sa_01hzy3v5k8m9n0p1q2r3s4t5v6","client_id":"sa_01hzy3v5k8m9n0p1q2r3s4t5v6","aud":"https://billing.example.com","iat":1790000000,"nbf":1790000000,"exp":1790000900,"jti":"tok_01hzy3v5k8m9n0p1q2r3s4t5v6","scope":"invoices:read invoices:write","roles":["billing"],"gen":3,"cred":"sec_01hzy3v5k8m9n0p1q2r3s4t5v6"}`

func BenchmarkSign(b *testing.B) {
	key, err := GenerateKey(ES256, "key_01hzy3v5k8m9n0p1q2r3s4t5v6")
	if err != nil {
		b.Fatal(err)
	}
	private := key.signer.(*ecdsa.PrivateKey)
	b.Run("jose.Sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Sign(key, typ, []byte(benchmarkPayload)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare deterministic signature", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := (deterministicES256{}).Sign(benchmarkPayload, private); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("golang-jwt NewWithClaims", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
				"iss": "https://id.example.com", "sub": "sa_01hzy3v5k8m9n0p1q2r3s4t5v6",
				"client_id": "sa_01hzy3v5k8m9n0p1q2r3s4t5v6", "aud": "https://billing.example.com",
				"iat": 1790000000, "nbf": 1790000000, "exp": 1790000900, "jti": "tok_01hzy3v5k8m9n0p1q2r3s4t5v6",
				"scope": "invoices:read invoices:write", "roles": []string{"billing"}, "gen": 3,
				"cred": "sec_01hzy3v5k8m9n0p1q2r3s4t5v6",
			})
			token.Header["kid"], token.Header["typ"] = key.KeyID(), typ
			if _, err := token.SignedString(private); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	key, err := GenerateKey(ES256, "key-1")
	if err != nil {
		b.Fatal(err)
	}
	token, err := Sign(key, typ, []byte(benchmarkPayload))
	if err != nil {
		b.Fatal(err)
	}
	rules := rulesFor(key)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(token, rules); err != nil {
			b.Fatal(err)
		}
	}
}
