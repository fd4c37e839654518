package jose

import (
	"errors"
	"strings"
)

const (
	defaultMaxSize = 8 << 10 // of the whole token
	maxHeaderSize  = 512     // of the encoded header
	maxDepth       = 4       // of the payload: cnf and act nest, nothing nests deeply
)

// Rules tell what a token must be. The zero Rules accept nothing.
type Rules struct {
	// Typ is the exact header member typ (RFC 8725 section 3.11). Empty means
	// that the header must have none.
	Typ string
	// MaxSize is the greatest length of the token in bytes; 0 is 8 KiB.
	MaxSize int
	// Keys finds a key by its id, nil for none. It is called with text of
	// 1 to 64 characters of base64url and nothing else.
	Keys func(kid string) *PublicKey
}

// Header is what the header of an accepted token says.
type Header struct {
	Algorithm Algorithm
	KeyID     string
	Type      string
}

// Message is a verified token.
type Message struct {
	Header  Header
	Payload []byte // a JSON object; CheckJSON has passed it
}

// Parse verifies a token in compact form. All refusals are [ErrInvalid].
//
// The order is fixed and cheap steps come first: size, three parts, alphabet,
// header (only alg, kid and typ, each once, so no crit, b64, zip, jku, x5u,
// jwk or x5c can have a say), key by kid, algorithm as pinned to that key,
// signature, and only then the payload: a JSON object with unique names.
func Parse(token string, r Rules) (*Message, error) {
	header, payload, err := open(token, r)
	if err != nil {
		return nil, err
	}
	if _, err := parseObject(payload, maxDepth); err != nil {
		return nil, refuse("payload is not a strict JSON object")
	}
	return &Message{Header: header, Payload: payload}, nil
}

// open does all that Parse does but look into the payload.
func open(token string, r Rules) (Header, []byte, error) {
	var h Header
	limit := r.MaxSize
	if limit == 0 {
		limit = defaultMaxSize
	}
	if len(token) > limit {
		return h, nil, refuse("too long")
	}
	headerPart, rest, ok1 := strings.Cut(token, ".")
	payloadPart, signaturePart, ok2 := strings.Cut(rest, ".")
	if !ok1 || !ok2 {
		return h, nil, refuse("not three parts")
	}
	if headerPart == "" || signaturePart == "" {
		return h, nil, refuse("empty part")
	}
	if len(headerPart) > maxHeaderSize {
		return h, nil, refuse("header too long")
	}
	// A fourth part fails here, since a dot is not in the alphabet.
	headerJSON, err1 := decode(headerPart)
	payload, err2 := decode(payloadPart)
	signature, err3 := decode(signaturePart)
	if err1 != nil || err2 != nil || err3 != nil {
		return h, nil, refuse("not canonical base64url")
	}

	h, err := parseHeader(headerJSON)
	if err != nil {
		return h, nil, err
	}
	if h.Type != r.Typ {
		return h, nil, refuse("another typ")
	}
	if r.Keys == nil {
		return h, nil, refuse("no keys")
	}
	key := r.Keys(h.KeyID)
	if key == nil || key.kid != h.KeyID {
		return h, nil, refuse("unknown kid")
	}
	// The key decides the algorithm; the header may only agree (RFC 8725 section 3.1).
	if h.Algorithm != key.suite.alg {
		return h, nil, refuse("algorithm is not the key's")
	}
	if n := key.suite.signatureSize; n != 0 && len(signature) != n {
		return h, nil, refuse("signature of wrong length")
	}
	signing := token[:len(headerPart)+1+len(payloadPart)]
	if err := key.suite.verifier.Verify(signing, signature, key.key); err != nil {
		return h, nil, refuse("signature does not verify")
	}
	return h, payload, nil
}

var errTyp = errors.New("jose: not a media type that a header may carry")

// validTyp holds the characters that the media types of tokens are made of.
func validTyp(typ string) bool {
	for i := range len(typ) {
		switch c := typ[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '+', c == '.', c == '/':
		default:
			return false
		}
	}
	return 0 < len(typ) && len(typ) <= 64
}

// parseHeader reads exactly the members alg, kid and typ, all of them strings
// without escapes. alg and kid must be there. Any other member is a refusal:
// ignoring unknown ones, as RFC 7515 section 4 has it, would let a verifier
// behind us see a token that we did not.
func parseHeader(b []byte) (Header, error) {
	m, err := parseObject(b, 1)
	if err != nil {
		return Header{}, refuse("header is not a strict JSON object")
	}
	var h Header
	for _, member := range m {
		value, ok := plainString(member.Value)
		if !ok {
			return Header{}, refuse("header member is not a plain string")
		}
		switch member.Name {
		case "alg":
			h.Algorithm = Algorithm(value)
		case "kid":
			h.KeyID = value
		case "typ":
			if !validTyp(value) {
				return Header{}, refuse("malformed typ")
			}
			h.Type = value
		default:
			return Header{}, refuse("header member not allowed")
		}
	}
	if h.Algorithm == "" {
		return Header{}, refuse("no alg")
	}
	if !validKid(h.KeyID) {
		return Header{}, refuse("malformed kid")
	}
	return h, nil
}
