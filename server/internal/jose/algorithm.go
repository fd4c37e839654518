package jose

import (
	"crypto"

	"github.com/golang-jwt/jwt/v5"

	"github.com/marque-id/marque/server/internal/fault"
)

// Algorithm is the name of a signature algorithm (RFC 7518 section 3.1).
type Algorithm string

const (
	// ES256 is ECDSA on P-256 with SHA-256. Signatures are made deterministically
	// (RFC 6979), which any verifier of ES256 accepts.
	ES256 Algorithm = "ES256"
	// EdDSA is Ed25519 (RFC 8037 section 3.1); of its curves this one alone.
	EdDSA Algorithm = "EdDSA"
	// RS256 is RSASSA-PKCS1-v1_5 with SHA-256, for verifiers that know nothing
	// else. A signature costs twenty times as much as with the others.
	RS256 Algorithm = "RS256"
)

// Algorithms lists what this package signs and verifies. There is no "none",
// and nothing symmetric: a verifier's key could then sign.
func Algorithms() []Algorithm { return []Algorithm{ES256, EdDSA, RS256} }

// suite is all that differs between two algorithms. A further algorithm is one
// more file that makes a suite, and one more entry in suiteOf.
type suite struct {
	alg Algorithm

	signer   jwt.SigningMethod // how we sign; may be of our own
	verifier jwt.SigningMethod // how we verify; golang-jwt's

	signatureSize int // in bytes; 0 where it depends on the key

	generate func() (crypto.Signer, error)
	// check refuses a key of another type, curve or size.
	check func(crypto.PublicKey) error
	// appendJWK appends the members that RFC 7638 section 3.2 requires, in its
	// order: sorted by name, no white space, without the braces.
	appendJWK func([]byte, crypto.PublicKey) []byte
	// parseJWK reads the key material out of the members of a JWK.
	parseJWK func(members) (crypto.PublicKey, error)
}

// suiteOf finds the suite of an algorithm.
func suiteOf(alg Algorithm) (suite, error) {
	switch alg {
	case ES256:
		return es256(), nil
	case EdDSA:
		return eddsa(), nil
	case RS256:
		return rs256(), nil
	default:
		return suite{}, fault.Invalid("the signature algorithm is not supported: use ES256, EdDSA or RS256")
	}
}

// suiteOfType finds the suite for a key type and curve of RFC 7518 section 6.
func suiteOfType(kty, crv string) (suite, error) {
	switch {
	case kty == "EC" && crv == "P-256":
		return es256(), nil
	case kty == "EC":
		return suite{}, fault.Invalid("the curve of the key is not supported: crv must be P-256")
	case kty == "OKP" && crv == "Ed25519":
		return eddsa(), nil
	case kty == "OKP":
		return suite{}, fault.Invalid("the curve of the key is not supported: crv must be Ed25519")
	case kty == "RSA":
		return rs256(), nil
	default:
		return suite{}, fault.Invalid("the type of the key is not supported: kty must be EC with crv P-256, OKP with crv Ed25519, or RSA")
	}
}
