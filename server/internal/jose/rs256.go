package jose

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"math/big"

	"github.com/golang-jwt/jwt/v5"

	"github.com/marque-id/marque/server/internal/fault"
)

const (
	minRSABits = 2048 // RFC 7518 section 3.3; ours have exactly as many
	maxRSABits = 8192 // more only costs our processor
)

func rs256() suite {
	return suite{
		alg:       RS256,
		signer:    jwt.SigningMethodRS256,
		verifier:  jwt.SigningMethodRS256,
		generate:  func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, minRSABits) },
		check:     checkRSA,
		appendJWK: appendRSA,
		parseJWK:  parseRSA,
	}
}

func checkRSA(key crypto.PublicKey) error {
	k, ok := key.(*rsa.PublicKey)
	if !ok || k.N == nil {
		return fault.Invalid("an RS256 key is an RSA key")
	}
	switch bits := k.N.BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return fault.Invalid("an RSA key has %d to %d bits", minRSABits, maxRSABits)
	case k.N.Bit(0) == 0 || k.E < 3 || k.E%2 == 0:
		return fault.Invalid("the modulus and the exponent of an RSA key are odd, and the exponent is at least 3")
	case fromROCA(k.N):
		return fault.Invalid("the RSA key was made by a faulty generator (CVE-2017-15361) and can be factored: make another one")
	}
	return nil
}

func appendRSA(b []byte, key crypto.PublicKey) []byte {
	k := key.(*rsa.PublicKey) // none skips checkRSA
	b = append(b, `"e":"`...)
	b = encoding().AppendEncode(b, big.NewInt(int64(k.E)).Bytes())
	b = append(b, `","kty":"RSA","n":"`...)
	b = encoding().AppendEncode(b, k.N.Bytes())
	return append(b, '"')
}

// parseRSA reads the members of RFC 7518 section 6.3.1: big-endian, without
// leading zeros, so that a key has one spelling.
func parseRSA(m members) (crypto.PublicKey, error) {
	numbers := make(map[string]*big.Int, 2)
	for _, name := range [...]string{"n", "e"} {
		text, err := m.text(name)
		if err != nil {
			return nil, err
		}
		raw, err := decode(text)
		if err != nil || len(raw) == 0 || raw[0] == 0 {
			return nil, fault.Invalid("the member %s must be a number in unpadded base64url, without leading zeros", name)
		}
		numbers[name] = new(big.Int).SetBytes(raw)
	}
	e := numbers["e"]
	if e.BitLen() > 31 {
		return nil, fault.Invalid("the member e must be below 2147483648")
	}
	return &rsa.PublicKey{N: numbers["n"], E: int(e.Int64())}, nil
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
