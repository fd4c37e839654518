package jose

import (
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

func keysOfAllAlgorithms(t *testing.T) map[Algorithm]*PrivateKey {
	t.Helper()
	keys := map[Algorithm]*PrivateKey{}
	for _, alg := range Algorithms() {
		key, err := GenerateKey(alg, "key-1")
		if err != nil {
			t.Fatal(err)
		}
		keys[alg] = key
	}
	return keys
}

func TestEachAlgorithmSignsVerifiesAndSurvivesStorage(t *testing.T) {
	t.Parallel()
	keys := keysOfAllAlgorithms(t)
	for alg, key := range keys {
		der, err := key.MarshalPKCS8()
		if err != nil {
			t.Fatal(err)
		}
		stored, err := ParsePKCS8(alg, "key-1", der)
		if err != nil {
			t.Fatal(alg, err)
		}
		public, err := ParseJWK(key.Public().JWK())
		if err != nil {
			t.Fatal(alg, err)
		}
		if !public.Equal(stored.Public()) || public.Algorithm() != alg || Thumbprint(public) != Thumbprint(key.Public()) {
			t.Errorf("%s: another key came back", alg)
		}
		token, err := Sign(stored, typ, []byte(`{"a":1}`))
		if err != nil {
			t.Fatal(alg, err)
		}
		got, err := Parse(token, Rules{Typ: typ, Keys: func(string) *PublicKey { return public }})
		if err != nil {
			t.Fatalf("%s: %v (%s)", alg, err, Reason(err))
		}
		if diff := cmp.Diff(Header{alg, "key-1", typ}, got.Header); diff != "" {
			t.Error(diff)
		}
		parsed, err := jwt.Parse(token, func(*jwt.Token) (any, error) { return public.key, nil }, jwt.WithValidMethods([]string{string(alg)}))
		if err != nil || !parsed.Valid {
			t.Errorf("%s: another library refuses it: %v", alg, err)
		}
		for other, wrong := range keys {
			if other == alg {
				continue
			}
			if _, err := Parse(token, Rules{Typ: typ, Keys: func(string) *PublicKey { return wrong.Public() }}); err == nil {
				t.Errorf("a token of %s is taken for one of %s", alg, other)
			}
			if _, err := ParsePKCS8(other, "key-1", der); err == nil {
				t.Errorf("a key of %s is taken for one of %s", alg, other)
			}
			if _, err := NewPublicKey(other, "key-1", public.key); err == nil {
				t.Errorf("a public key of %s is taken for one of %s", alg, other)
			}
		}
	}
}

// RFC 8037 appendix A: key, thumbprint and signature.
func TestEdDSAIsThatOfRFC8037(t *testing.T) {
	t.Parallel()
	seed, err := hex.DecodeString("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	if err != nil {
		t.Fatal(err)
	}
	private := ed25519.NewKeyFromSeed(seed)
	public, err := NewPublicKey(EdDSA, "k", private.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got := Thumbprint(public); got != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("thumbprint %s", got)
	}
	signature, err := eddsa().signer.Sign("eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", crypto.Signer(private))
	if err != nil {
		t.Fatal(err)
	}
	const want = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	if got := encoding().EncodeToString(signature); got != want {
		t.Errorf("signature %s", got)
	}
}

func TestPointsOfSmallOrderAreFound(t *testing.T) {
	t.Parallel()
	for _, point := range smallOrderPoints() {
		for _, sign := range []byte{0, 0x80} {
			p := point
			p[31] |= sign
			if _, err := NewPublicKey(EdDSA, "k", ed25519.PublicKey(p[:])); err == nil {
				t.Errorf("%x is taken", p)
			}
		}
	}
}
