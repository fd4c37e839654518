package marque

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
)

const testAudience = "https://invoices.example.com"

// signer is a key pair of an issuer.
type signer struct {
	kid, alg string
	jwk      map[string]any
	sign     func(signing string) []byte
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newES256(t testing.TB, kid string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return &signer{kid: kid, alg: "ES256",
		jwk: map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "use": "sig", "x": b64(point[1:33]), "y": b64(point[33:])},
		sign: func(signing string) []byte {
			digest := sha256.Sum256([]byte(signing))
			r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		}}
}

func newEdDSA(t testing.TB, kid string) *signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{kid: kid, alg: "EdDSA",
		jwk:  map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "use": "sig", "x": b64(public)},
		sign: func(signing string) []byte { return ed25519.Sign(private, []byte(signing)) }}
}

func newRS256(t testing.TB, kid string, bits int) *signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{kid: kid, alg: "RS256",
		jwk: map[string]any{"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())},
		sign: func(signing string) []byte {
			digest := sha256.Sum256([]byte(signing))
			signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			return signature
		}}
}

// forge signs any header and payload, well-formed or not.
func (s *signer) forge(header, payload string) string {
	signing := b64([]byte(header)) + "." + b64([]byte(payload))
	return signing + "." + b64(s.sign(signing))
}

func (s *signer) header() string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, s.alg, s.kid)
}

// issuer is a wire that publishes keys, and a clock that stands still.
type issuer struct {
	wire
	clock *fakeClock

	mu     sync.Mutex
	keys   []*signer
	status int // instead of keys
	cache  string
	gate   chan struct{} // nil, or what each answer waits for
}

func newIssuer(keys ...*signer) *issuer {
	i := &issuer{clock: newFakeClock(), keys: keys, cache: "public, max-age=300"}
	i.answer = func(int, sent, *http.Request) (*http.Response, error) {
		i.mu.Lock()
		gate := i.gate
		i.mu.Unlock()
		if gate != nil {
			<-gate
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.status != 0 {
			return respond(i.status, ""), nil
		}
		list := []any{}
		for _, key := range i.keys {
			list = append(list, key.jwk)
		}
		body, _ := json.Marshal(map[string]any{"keys": list})
		return respond(200, string(body), "Cache-Control", i.cache), nil
	}
	return i
}

// publish changes what is published; a status other than 0 is answered instead.
func (i *issuer) publish(status int, keys ...*signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.keys = status, keys
}

func (i *issuer) fetches() int { return len(i.to("/.well-known/jwks.json")) }

func (i *issuer) verifier(t testing.TB, change ...func(*VerifierConfig)) *Verifier {
	t.Helper()
	config := VerifierConfig{Issuer: testIssuer, HTTPClient: &http.Client{Transport: i}, Clock: i.clock}
	for _, f := range change {
		f(&config)
	}
	v, err := newVerifier(config, none)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// claims are those of a good token, changed: nil takes a claim away.
func (i *issuer) claims(change map[string]any) string {
	now := i.clock.Now().Unix()
	claims := map[string]any{
		"iss": testIssuer, "sub": testID, "client_id": testID, "aud": testAudience, "iat": now, "nbf": now, "exp": now + 900,
		"jti": "tok_01jzt3v0q8n4m6x2c9k7b5h1d0", "scope": "invoices:read invoices:write", "roles": []string{"clerk"}, "gen": 3, "cred": "sec_1",
	}
	maps.Copy(claims, change)
	for name, v := range claims {
		if v == nil {
			delete(claims, name)
		}
	}
	b, _ := json.Marshal(claims)
	return string(b)
}

func (i *issuer) token(s *signer, change map[string]any) string {
	return s.forge(s.header(), i.claims(change))
}

// refused is err as a *TokenError of the reason.
func refused(t testing.TB, name string, err error, reason Reason) {
	t.Helper()
	e, ok := err.(*TokenError)
	if !ok || e.Reason != reason {
		t.Errorf("%s: %v, want %s", name, err, reason)
	}
}

func (s *signer) public(t testing.TB) *publicKey {
	t.Helper()
	b, err := json.Marshal(s.jwk)
	if err != nil {
		t.Fatal(err)
	}
	key := readKey(string(b))
	if key == nil {
		t.Fatalf("the key %s is not accepted", strings.TrimSpace(string(b)))
	}
	return key
}
