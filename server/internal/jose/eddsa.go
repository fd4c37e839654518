package jose

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"math/big"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/marque-id/marque/server/internal/fault"
)

func eddsa() suite {
	return suite{
		alg:           EdDSA,
		signer:        jwt.SigningMethodEdDSA,
		verifier:      jwt.SigningMethodEdDSA,
		signatureSize: ed25519.SignatureSize,
		generate: func() (crypto.Signer, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		},
		check:     checkEd25519,
		appendJWK: appendEd25519,
		parseJWK:  parseEd25519,
	}
}

func checkEd25519(key crypto.PublicKey) error {
	k, ok := key.(ed25519.PublicKey)
	if !ok || len(k) != ed25519.PublicKeySize {
		return fault.Invalid("an EdDSA key is a point on the curve Ed25519")
	}
	if !onEd25519(k) {
		return fault.Invalid("the key is not a point on the curve Ed25519")
	}
	if smallOrder(k) {
		return fault.Invalid("the key is a point of small order: anybody can sign for it")
	}
	return nil
}

func appendEd25519(b []byte, key crypto.PublicKey) []byte {
	b = append(b, `"crv":"Ed25519","kty":"OKP","x":"`...)
	b = encoding().AppendEncode(b, key.(ed25519.PublicKey)) // none skips checkEd25519
	return append(b, '"')
}

// parseEd25519 reads the member of RFC 8037 section 2.
func parseEd25519(m members) (crypto.PublicKey, error) {
	text, err := m.text("x")
	if err != nil {
		return nil, err
	}
	x, err := decode(text)
	if err != nil || len(x) != ed25519.PublicKeySize {
		return nil, fault.Invalid("the member x must be 32 bytes in unpadded base64url")
	}
	return ed25519.PublicKey(x), nil
}

// onEd25519 reports whether the key is the encoding of a point (RFC 8032 section
// 5.1.3): y is below p = 2^255-19, and x² = (y²-1)/(dy²+1) has a root.
func onEd25519(key ed25519.PublicKey) bool {
	one := big.NewInt(1)
	p := new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	d := new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p))
	reversed := slices.Clone(key)
	slices.Reverse(reversed)
	reversed[0] &= 0x7f // the sign of x
	y := new(big.Int).SetBytes(reversed)
	if y.Cmp(p) >= 0 {
		return false
	}
	y2 := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(y2, one)
	v := d.Add(d.Mul(d, y2), one)
	// u/v = uv/v², so that both are squares or neither is.
	return big.Jacobi(u.Mod(u.Mul(u, v), p), p) >= 0
}

// smallOrder finds the points of order 1, 2, 4 and 8 on Ed25519, in each of
// their encodings: under such a key a signature can be made without a private
// key. The sign bit is left out of the comparison.
func smallOrder(key ed25519.PublicKey) bool {
	masked := [ed25519.PublicKeySize]byte(key)
	masked[31] &= 0x7f
	return slices.Contains(smallOrderPoints(), masked)
}

func smallOrderPoints() [][ed25519.PublicKeySize]byte {
	return [][ed25519.PublicKeySize]byte{
		{0: 0}, // order 4
		{0: 1}, // order 1
		{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, // order 8
			0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
		{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, // order 8
			0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
		almostAllOnes(0xec), // p-1, order 2
		almostAllOnes(0xed), // p, which is 0
		almostAllOnes(0xee), // p+1, which is 1
	}
}

// almostAllOnes is 2^255 - 256 + low, little-endian.
func almostAllOnes(low byte) (n [ed25519.PublicKeySize]byte) {
	for i := range n {
		n[i] = 0xff
	}
	n[0], n[31] = low, 0x7f
	return n
}
