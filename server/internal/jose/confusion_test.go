package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"hash"
	"testing"

	"github.com/golang-jwt/jwt/v5"
)

// spellings are the bytes of a public key in all forms in which a library may
// hand them to HMAC as its key: everybody knows them.
func spellings(t *testing.T, key *PublicKey) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.key)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	all := map[string][]byte{
		"PEM": block, "PEM without its last line end": block[:len(block)-1], "DER": der,
		"JWK": key.JWK(), "kid": []byte(key.KeyID()), "empty": {},
	}
	switch k := key.key.(type) {
	case *ecdsa.PublicKey:
		if all["point"], err = k.Bytes(); err != nil {
			t.Fatal(err)
		}
	case *rsa.PublicKey:
		all["PKCS #1"] = x509.MarshalPKCS1PublicKey(k)
		all["PKCS #1 in PEM"] = pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: all["PKCS #1"]})
		all["modulus"] = k.N.Bytes()
	case ed25519.PublicKey:
		all["point"] = k
	default:
		t.Fatalf("no spellings of a %T are listed", k)
	}
	return all
}

// Algorithm confusion (RFC 8725 section 2.1): a verifier that believes the header
// takes the public key for the secret of HMAC. Each key is tried with each hash,
// under the names of the symmetric algorithms and under its own.
func TestSymmetricSignaturesWithThePublicKeyAreRefused(t *testing.T) {
	t.Parallel()
	tried := 0
	for alg, key := range keysOfAllAlgorithms(t) {
		for name, secret := range spellings(t, key.Public()) {
			for symmetric, sum := range map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New} {
				for _, claimed := range []string{symmetric, string(alg)} {
					signing := b64(`{"alg":"`+claimed+`","kid":"key-1","typ":"at+jwt"}`) + "." + b64(`{}`)
					mac := hmac.New(sum, secret)
					mac.Write([]byte(signing))
					_, err := Parse(signing+"."+encoding().EncodeToString(mac.Sum(nil)), rulesFor(key))
					refused(t, string(alg)+" key as "+name+", "+symmetric+" called "+claimed, err)
					tried++
				}
			}
		}
	}
	if want := (7 + 9 + 7) * 3 * 2; tried != want {
		t.Errorf("%d tokens were tried, want %d", tried, want)
	}
}

// The key has one algorithm. A signature that is good is refused when the header
// gives it any other name, and one of another algorithm by the very same key is
// refused as well, whatever it is called.
func TestASignatureCountsOnlyUnderTheAlgorithmOfItsKey(t *testing.T) {
	t.Parallel()
	header := func(alg string) string { return `{"alg":"` + alg + `","kid":"key-1","typ":"at+jwt"}` }
	names := []string{
		"none", "None", "", "HS256", "HS384", "HS512", "ES256", "ES384", "ES512", "ES256K", "RS256", "RS384", "RS512",
		"PS256", "PS384", "PS512", "EdDSA", "Ed25519", "Ed448", "es256", "rs256", "eddsa", "EDDSA", "RS256 ", "RSA-OAEP",
	}
	keys := keysOfAllAlgorithms(t)
	for alg, key := range keys {
		for _, name := range names {
			token := forge(t, key, header(name), `{}`)
			_, err := Parse(token, rulesFor(key))
			if name == string(alg) {
				if err != nil {
					t.Errorf("%s: its own token: %v (%s)", alg, err, Reason(err))
				}
				continue
			}
			refused(t, string(alg)+" called "+name, err)
		}
		// Unsigned, in each way to say so.
		for _, name := range []string{"none", string(alg)} {
			unsigned := b64(header(name)) + "." + b64(`{}`) + "."
			for _, signature := range []string{"", "AA", b64("none")} {
				_, err := Parse(unsigned+signature, rulesFor(key))
				refused(t, string(alg)+" unsigned, called "+name, err)
			}
		}
	}
	key := keys[RS256]
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodPS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512} {
		for _, name := range []string{"RS256", method.Alg()} {
			signing := b64(header(name)) + "." + b64(`{}`)
			signature, err := method.Sign(signing, crypto.PrivateKey(key.signer))
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(signing+"."+encoding().EncodeToString(signature), rulesFor(key))
			refused(t, method.Alg()+" by an RSA key called "+name, err)
		}
	}
}
