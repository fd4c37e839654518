package jose

import (
	"crypto"
	"encoding/json"
	"slices"

	"github.com/marque-id/marque/server/internal/fault"
)

const (
	maxJWKSize  = 16 << 10 // a certificate chain in x5c may be there; it is ignored
	maxJWKDepth = 4
)

// ParseJWK reads a public key that somebody else made (RFC 7517). Errors are
// faults that say what to change: the reader is whoever registers the key.
//
// Members without meaning here are ignored, as RFC 7517 section 4 demands;
// certificates among them, which are never fetched nor trusted. Refused are
// private and symmetric members, a use or key_ops that exclude verification, an
// alg that is not the one of the key type, and every key that is not a point on
// its curve. A key without kid gets its thumbprint as kid.
func ParseJWK(b []byte) (*PublicKey, error) {
	if len(b) > maxJWKSize {
		return nil, fault.Invalid("the key is longer than %d bytes", maxJWKSize)
	}
	m, err := parseObject(b, maxJWKDepth)
	if err != nil {
		return nil, err
	}
	// Before anything else, so that a leaked key is named as such.
	for _, private := range [...]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if m.has(private) {
			return nil, fault.Invalid("the key has the member %s, which is private: send the public key only, and replace this one, since it has been shown", private)
		}
	}
	kty, err := m.text("kty")
	if err != nil {
		return nil, err
	}
	crv := ""
	if m.has("crv") {
		if crv, err = m.text("crv"); err != nil {
			return nil, err
		}
	}
	s, err := suiteOfType(kty, crv)
	if err != nil {
		return nil, err
	}
	if err := checkPurpose(m, s.alg); err != nil {
		return nil, err
	}
	key, err := s.parseJWK(m)
	if err != nil {
		return nil, err
	}
	kid, err := keyID(m, s, key)
	if err != nil {
		return nil, err
	}
	return NewPublicKey(s.alg, kid, key)
}

func keyID(m members, s suite, key crypto.PublicKey) (string, error) {
	if !m.has("kid") {
		return thumbprint(s, key), nil
	}
	return m.text("kid")
}

// checkPurpose holds a key to what it says about itself (RFC 7517 sections 4.2
// to 4.4).
func checkPurpose(m members, want Algorithm) error {
	if m.has("alg") {
		if alg, err := m.text("alg"); err != nil || Algorithm(alg) != want {
			return fault.Invalid("the member alg must be %s for this type of key", want)
		}
	}
	if m.has("use") {
		if use, err := m.text("use"); err != nil || use != "sig" {
			return fault.Invalid("the member use must be sig")
		}
	}
	for _, member := range m {
		if member.Name == "key_ops" && !listsVerify(member.Value) {
			return fault.Invalid("the member key_ops must be a list that has verify")
		}
	}
	return nil
}

// listsVerify reports whether value is a list of strings, "verify" among them.
func listsVerify(value []byte) bool {
	var ops []string
	return json.Unmarshal(value, &ops) == nil && slices.Contains(ops, "verify")
}
