package marque

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"slices"
)

// publicKey verifies signatures of exactly one algorithm (RFC 8725 section 3.1).
type publicKey struct {
	kid, alg string
	source   string // the JWK, by which it is known again in the next key set
	verify   func(signing string, signature []byte) bool
}

// algorithmKnown says which algorithms there are. There is no "none", and
// nothing symmetric: whoever verifies could then sign.
func algorithmKnown(alg string) bool { return alg == "ES256" || alg == "EdDSA" || alg == "RS256" }

// readKey reads a public key of a key set (RFC 7517). A key that is of no use
// here, or that is not as it should be, is nil: a set may have such keys for
// others, and one bad key must not take the good ones away.
func readKey(source string) *publicKey {
	list, ok := readObject(source, maxTokenDepth)
	if !ok {
		return nil
	}
	m := make(map[string]string, len(list))
	for _, member := range list {
		m[member.name] = member.value
	}
	for _, private := range [...]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, shown := m[private]; shown {
			return nil // whoever can read the set can sign
		}
	}
	text := func(name string) string {
		s, _ := plainString(m[name])
		return s
	}
	if use, there := m["use"]; there && use != `"sig"` {
		return nil
	}
	if ops, there := m["key_ops"]; there {
		if list, _ := stringsValue(ops); !slices.Contains(list, "verify") {
			return nil
		}
	}
	key := &publicKey{kid: text("kid"), source: source}
	switch text("kty") + " " + text("crv") {
	case "EC P-256":
		key.alg, key.verify = "ES256", readP256(text("x"), text("y"))
	case "OKP Ed25519":
		key.alg, key.verify = "EdDSA", readEd25519(text("x"))
	case "RSA ":
		key.alg, key.verify = "RS256", readRSA(text("n"), text("e"))
	}
	if alg, there := m["alg"]; there && alg != `"`+key.alg+`"` {
		return nil
	}
	if key.verify == nil || !validKid(key.kid) {
		return nil
	}
	return key
}

// p256Size is the length of a coordinate, and of each half of a signature.
const p256Size = 32

func readP256(x, y string) func(string, []byte) bool {
	bx, ok1 := decodeBase64(x)
	by, ok2 := decodeBase64(y)
	// Full length, leading zeros included (RFC 7518 section 6.2.1.2).
	if !ok1 || !ok2 || len(bx) != p256Size || len(by) != p256Size {
		return nil
	}
	point := slices.Concat([]byte{4}, bx, by) // uncompressed (SEC 1 section 2.3.3)
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		return nil // not on the curve
	}
	return func(signing string, signature []byte) bool {
		if len(signature) != 2*p256Size {
			return false
		}
		var der [2*p256Size + 8]byte
		digest := sha256.Sum256([]byte(signing))
		return ecdsa.VerifyASN1(key, digest[:], appendDER(der[:0], signature))
	}
}

// appendDER writes r and s (RFC 7518 section 3.4) as SEQUENCE{INTEGER, INTEGER}.
// All lengths are below 128, so each is one byte.
func appendDER(der, signature []byte) []byte {
	der = append(der, 0x30, 0)
	for half := range 2 {
		n := signature[half*p256Size : (half+1)*p256Size]
		for len(n) > 1 && n[0] == 0 {
			n = n[1:]
		}
		if n[0] >= 0x80 { // a zero keeps the integer positive
			der = append(der, 0x02, byte(len(n)+1), 0)
		} else {
			der = append(der, 0x02, byte(len(n)))
		}
		der = append(der, n...)
	}
	der[1] = byte(len(der) - 2)
	return der
}

func readEd25519(x string) func(string, []byte) bool {
	key, ok := decodeBase64(x)
	if !ok || len(key) != ed25519.PublicKeySize || smallOrder(key) {
		return nil
	}
	return func(signing string, signature []byte) bool {
		return len(signature) == ed25519.SignatureSize && ed25519.Verify(key, []byte(signing), signature)
	}
}

// smallOrder finds the points of order 1, 2, 4 and 8 on Ed25519, in each of
// their encodings: under such a key a signature can be made without a private
// key. The sign bit is left out of the comparison.
func smallOrder(key []byte) bool {
	masked := [ed25519.PublicKeySize]byte(key)
	masked[31] &= 0x7f
	return slices.Contains(smallOrderPoints, masked)
}

var smallOrderPoints = [][ed25519.PublicKeySize]byte{
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

// almostAllOnes is 2^255 - 256 + low, little-endian.
func almostAllOnes(low byte) (n [ed25519.PublicKeySize]byte) {
	for i := range n {
		n[i] = 0xff
	}
	n[0], n[31] = low, 0x7f
	return n
}

const (
	minRSABits = 2048 // RFC 7518 section 3.3
	maxRSABits = 8192 // more only costs our processor
)

func readRSA(n, e string) func(string, []byte) bool {
	bn, ok1 := decodeBase64(n)
	be, ok2 := decodeBase64(e)
	if !ok1 || !ok2 || len(be) == 0 || len(be) > 4 {
		return nil
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(bn), E: int(new(big.Int).SetBytes(be).Int64())}
	if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits || key.N.Bit(0) == 0 || key.E < 3 || key.E%2 == 0 || key.E > 1<<31-1 || fromROCA(key.N) {
		return nil
	}
	return func(signing string, signature []byte) bool {
		digest := sha256.Sum256([]byte(signing))
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	}
}

// fromROCA finds moduli that a well-known faulty generator made (CVE-2017-15361,
// "ROCA"): they can be factored. Its primes are powers of 65537 modulo each
// small prime, and so are their products; a good modulus practically never is
// that for all of them.
func fromROCA(n *big.Int) bool {
	for p := int64(3); p <= 167; p += 2 {
		if !big.NewInt(p).ProbablyPrime(0) {
			continue
		}
		rest := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		power, found := int64(1), false
		for range p {
			found = found || power == rest
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}
