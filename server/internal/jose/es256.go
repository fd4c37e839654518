package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"

	"github.com/golang-jwt/jwt/v5"

	"github.com/marque-id/marque/server/internal/fault"
)

// p256Size is the length of a coordinate, and of each half of a signature.
const p256Size = 32

func es256() suite {
	return suite{
		alg:           ES256,
		signer:        deterministicES256{},
		verifier:      jwt.SigningMethodES256,
		signatureSize: 2 * p256Size,
		generate: func() (crypto.Signer, error) {
			return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		},
		check:     checkP256,
		appendJWK: appendP256,
		parseJWK:  parseP256,
	}
}

// deterministicES256 is a golang-jwt signing method that is registered nowhere,
// so that the registry of golang-jwt stays as its other users expect it. It
// signs by RFC 6979: without reading randomness per token it is faster, and a
// bad random source cannot leak the key.
type deterministicES256 struct{}

var _ jwt.SigningMethod = deterministicES256{}

// Alg is the name in the header.
func (deterministicES256) Alg() string { return string(ES256) }

// Verify is golang-jwt's: the two kinds of signature verify alike.
func (deterministicES256) Verify(signing string, signature []byte, key any) error {
	return jwt.SigningMethodES256.Verify(signing, signature, key)
}

// Sign makes r and s, 32 bytes each (RFC 7518 section 3.4).
func (deterministicES256) Sign(signing string, key any) ([]byte, error) {
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, jwt.ErrInvalidKeyType
	}
	digest := sha256.Sum256([]byte(signing))
	// A nil source of randomness asks for the deterministic form.
	der, err := private.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return rawP256(der)
}

var errDER = errors.New("jose: not the DER form of a P-256 signature")

// rawP256 turns SEQUENCE{INTEGER r, INTEGER s} into r and s of fixed length.
// All lengths are below 128, so each is one byte.
func rawP256(der []byte) ([]byte, error) {
	if len(der) < 2 || der[0] != 0x30 || int(der[1]) != len(der)-2 {
		return nil, errDER
	}
	raw, rest := make([]byte, 2*p256Size), der[2:]
	for half := range 2 {
		if len(rest) < 2 || rest[0] != 0x02 || int(rest[1]) > len(rest)-2 {
			return nil, errDER
		}
		n := rest[2 : 2+int(rest[1])]
		rest = rest[2+len(n):]
		if len(n) == p256Size+1 && n[0] == 0 { // the zero keeps the integer positive
			n = n[1:]
		}
		if len(n) == 0 || len(n) > p256Size {
			return nil, errDER
		}
		copy(raw[(half+1)*p256Size-len(n):], n)
	}
	if len(rest) != 0 {
		return nil, errDER
	}
	return raw, nil
}

func checkP256(key crypto.PublicKey) error {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P256() {
		return fault.Invalid("an ES256 key is a point on the curve P-256")
	}
	if _, err := k.Bytes(); err != nil { // not on the curve, or at infinity
		return fault.Invalid("the key is not a point on the curve P-256")
	}
	return nil
}

func appendP256(b []byte, key crypto.PublicKey) []byte {
	// Cannot fail: no PublicKey of this package skips checkP256.
	point, _ := key.(*ecdsa.PublicKey).Bytes()
	b = append(b, `"crv":"P-256","kty":"EC","x":"`...)
	b = encoding().AppendEncode(b, point[1:1+p256Size])
	b = append(b, `","y":"`...)
	b = encoding().AppendEncode(b, point[1+p256Size:])
	return append(b, '"')
}

func parseP256(m members) (crypto.PublicKey, error) {
	point := make([]byte, 1, 1+2*p256Size)
	point[0] = 4 // uncompressed (SEC 1 section 2.3.3)
	for _, name := range [...]string{"x", "y"} {
		text, err := m.text(name)
		if err != nil {
			return nil, err
		}
		// RFC 7518 section 6.2.1.2: full length, leading zeros included.
		coordinate, err := decode(text)
		if err != nil || len(coordinate) != p256Size {
			return nil, fault.Invalid("the member %s must be 32 bytes in unpadded base64url", name)
		}
		point = append(point, coordinate...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil, fault.Invalid("the key is not a point on the curve P-256")
	}
	return key, nil
}
