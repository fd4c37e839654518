package jose

import (
	"encoding/base64"
	"errors"
)

var errEncoding = errors.New("jose: not canonical base64url")

// encoding is base64url without padding (RFC 7515 section 2), refusing unused
// bits that are not zero: an ES256 signature would otherwise have 16 spellings.
func encoding() *base64.Encoding { return base64.RawURLEncoding.Strict() }

// decode reads the one canonical spelling. The alphabet is checked first, since
// the standard decoder skips CR and LF even when it is strict.
func decode(text string) ([]byte, error) {
	if !inAlphabet(text) {
		return nil, errEncoding
	}
	b, err := encoding().DecodeString(text)
	if err != nil {
		return nil, errEncoding
	}
	return b, nil
}

// inAlphabet reports whether text has only characters of base64url, which are
// the characters of a kid too.
func inAlphabet(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// kidMaxLength is the longest kid that is looked up.
const kidMaxLength = 64

// validKid holds ^[A-Za-z0-9_-]{1,64}$: a kid is a key of a map, never part of
// a path, a query or an address.
func validKid(kid string) bool {
	return 0 < len(kid) && len(kid) <= kidMaxLength && inAlphabet(kid)
}
