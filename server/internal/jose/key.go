package jose

import (
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"sync/atomic"

	"github.com/marque-id/marque/server/internal/fault"
)

// PublicKey verifies signatures of exactly one algorithm. It is immutable.
type PublicKey struct {
	kid   string
	suite suite
	key   crypto.PublicKey
}

// NewPublicKey pins a key to an algorithm and an id; it refuses a key of
// another type, curve or size, or off its curve.
func NewPublicKey(alg Algorithm, kid string, key crypto.PublicKey) (*PublicKey, error) {
	s, err := suiteOf(alg)
	if err != nil {
		return nil, err
	}
	if !validKid(kid) {
		return nil, fault.Invalid("a key id (kid) is 1 to %d characters of A-Z, a-z, 0-9, _ and -", kidMaxLength)
	}
	if err := s.check(key); err != nil {
		return nil, err
	}
	return &PublicKey{kid: kid, suite: s, key: key}, nil
}

// KeyID is the kid of headers and key sets.
func (k *PublicKey) KeyID() string { return k.kid }

// Algorithm is the one algorithm that the key may be used with.
func (k *PublicKey) Algorithm() Algorithm { return k.suite.alg }

// Equal reports whether both have the same id, algorithm and key material.
func (k *PublicKey) Equal(other *PublicKey) bool {
	return k.kid == other.kid && k.suite.alg == other.suite.alg &&
		subtle.ConstantTimeCompare(k.suite.appendJWK(nil, k.key), other.suite.appendJWK(nil, other.key)) == 1
}

// JWK renders the key for a key set (RFC 7517 section 4), members in a fixed order.
func (k *PublicKey) JWK() []byte {
	b := append([]byte(`{"kid":"`), k.kid...)
	b = append(b, `","use":"sig","alg":"`...)
	b = append(b, k.suite.alg...)
	b = append(b, `",`...)
	return append(k.suite.appendJWK(b, k.key), '}')
}

// Thumbprint is the SHA-256 thumbprint of a key in base64url (RFC 7638). It
// depends on the key material only.
func Thumbprint(k *PublicKey) string { return thumbprint(k.suite, k.key) }

func thumbprint(s suite, key crypto.PublicKey) string {
	sum := sha256.Sum256(append(s.appendJWK([]byte{'{'}, key), '}'))
	return encoding().EncodeToString(sum[:])
}

// PrivateKey signs with exactly one algorithm. It may be used by many
// goroutines, and it neither prints nor marshals its secret part.
type PrivateKey struct {
	public *PublicKey
	signer crypto.Signer
	// header is the encoded header of the type signed last. A key signs one
	// type of token, so this is computed once.
	header atomic.Pointer[typedHeader]
}

// GenerateKey makes a new key pair.
func GenerateKey(alg Algorithm, kid string) (*PrivateKey, error) {
	s, err := suiteOf(alg)
	if err != nil {
		return nil, err
	}
	signer, err := s.generate()
	if err != nil {
		return nil, fault.Internal(err)
	}
	return newPrivateKey(alg, kid, signer)
}

// ParsePKCS8 reads what MarshalPKCS8 wrote. Errors never carry key material.
func ParsePKCS8(alg Algorithm, kid string, der []byte) (*PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fault.Invalid("the private key is not in PKCS #8 form")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fault.Invalid("the private key cannot sign")
	}
	return newPrivateKey(alg, kid, signer)
}

func newPrivateKey(alg Algorithm, kid string, signer crypto.Signer) (*PrivateKey, error) {
	public, err := NewPublicKey(alg, kid, signer.Public())
	if err != nil {
		return nil, err
	}
	return &PrivateKey{public: public, signer: signer}, nil
}

// KeyID is the kid in the header of what the key signs.
func (k *PrivateKey) KeyID() string { return k.public.kid }

// Algorithm is the one algorithm that the key signs with.
func (k *PrivateKey) Algorithm() Algorithm { return k.public.suite.alg }

// Public is the half that may be shown.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// MarshalPKCS8 is the secret, in clear. Its only use is to be sealed.
func (k *PrivateKey) MarshalPKCS8() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return nil, fault.Internal(err)
	}
	return der, nil
}

// String and GoString hide the key in %v and %#v.
func (k *PrivateKey) String() string { return "private key " + k.public.kid }

// GoString hides the key in %#v.
func (k *PrivateKey) GoString() string { return k.String() }
