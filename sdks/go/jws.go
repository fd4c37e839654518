package marque

import (
	"encoding/base64"
	"strings"
)

const (
	maxTokenSize  = 8 << 10 // a token of Marque has 6 KiB at most
	maxHeaderSize = 512     // of the encoded header
	maxKidLength  = 64
	tokenType     = "at+jwt" // RFC 9068 section 2.1
)

// jws is a token taken apart; nothing in it has been verified.
type jws struct {
	alg, kid  string
	signing   string // what the signature is about
	payload   string
	signature []byte
}

// splitToken takes a token in compact form (RFC 7515 section 7.1) apart. It
// accepts one spelling of each: base64url without padding, line ends or unused
// bits. The header has alg, kid and typ, each once, and nothing else, so that no
// crit, b64, zip, jku, x5u, jwk or x5c has a say.
func splitToken(token string) (jws, Reason) {
	var t jws
	if len(token) > maxTokenSize {
		return t, ReasonMalformed
	}
	header, rest, ok1 := strings.Cut(token, ".")
	payload, signature, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 || len(header) > maxHeaderSize {
		return t, ReasonMalformed
	}
	// A fourth part fails here, since a dot is not in the alphabet.
	head, ok1 := decodeBase64(header)
	body, ok2 := decodeBase64(payload)
	raw, ok3 := decodeBase64(signature)
	if !ok1 || !ok2 || !ok3 {
		return t, ReasonMalformed
	}
	t.signing, t.payload, t.signature = token[:len(header)+1+len(payload)], string(body), raw
	typ, ok := t.readHeader(string(head))
	switch {
	case !ok:
		return t, ReasonMalformed
	case typ != tokenType: // RFC 8725 section 3.11
		return t, ReasonType
	case !algorithmKnown(t.alg):
		return t, ReasonAlgorithm
	case len(raw) == 0:
		return t, ReasonSignature
	}
	return t, ""
}

func (t *jws) readHeader(text string) (typ string, ok bool) {
	members, ok := readObject(text, 1)
	if !ok {
		return "", false
	}
	for _, m := range members {
		value, plain := plainString(m.value)
		if !plain {
			return "", false
		}
		switch m.name {
		case "alg":
			t.alg = value
		case "kid":
			t.kid = value
		case "typ":
			typ = value
		default:
			return "", false
		}
	}
	return typ, t.alg != "" && validKid(t.kid)
}

// plainString is the inside of a string of printable ASCII without escapes.
func plainString(value string) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	inside := value[1 : len(value)-1]
	for i := range len(inside) {
		if c := inside[i]; c == '\\' || c < ' ' || c > '~' {
			return "", false
		}
	}
	return inside, true
}

// validKid holds a kid to ^[A-Za-z0-9_-]{1,64}$: it is a key of a map and never
// part of a path, a query or an address.
func validKid(kid string) bool { return 0 < len(kid) && len(kid) <= maxKidLength && inBase64(kid) }

// decodeBase64 reads base64url without padding (RFC 7515 section 2), strictly:
// an ES256 signature would otherwise have 16 spellings. The alphabet is checked
// first, since the decoder skips line ends even when it is strict.
func decodeBase64(text string) ([]byte, bool) {
	if !inBase64(text) {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return b, err == nil
}

func inBase64(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
