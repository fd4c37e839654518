package jose

import (
	"strings"

	"github.com/marque-id/marque/server/internal/fault"
)

// typedHeader is a header that is signed again and again.
type typedHeader struct{ typ, encoded string }

// Sign makes a JWS in compact form (RFC 7515 section 3.1) with the header
// members alg, kid and typ. The payload is used as it is; writing good JSON is
// the caller's part. It costs about the bare signature.
func Sign(key *PrivateKey, typ string, payload []byte) (string, error) {
	h := key.header.Load()
	if h == nil || h.typ != typ {
		if !validTyp(typ) {
			return "", fault.Internal(errTyp)
		}
		h = &typedHeader{typ, key.encodeHeader(typ)}
		key.header.Store(h) // two at once store the same bytes
	}

	enc := encoding()
	var b strings.Builder
	b.Grow(len(h.encoded) + enc.EncodedLen(len(payload)) + 2 + enc.EncodedLen(maxSignatureSize))
	b.WriteString(h.encoded)
	b.WriteByte('.')
	writeEncoded(&b, payload)

	// The builder only ever appends, so this string stays what it is now.
	signature, err := key.public.suite.signer.Sign(b.String(), key.signer)
	if err != nil {
		return "", fault.Internal(err)
	}
	b.WriteByte('.')
	writeEncoded(&b, signature)
	return b.String(), nil
}

// maxSignatureSize only spares the builder from growing; a longer one is fine.
const maxSignatureSize = 64

// writeEncoded writes base64url through a buffer on the stack; its length of
// whole groups of three keeps the pieces joined without a seam.
func writeEncoded(b *strings.Builder, src []byte) {
	var piece [1024]byte
	enc := encoding()
	for len(src) > 0 {
		n := min(len(src), len(piece)/4*3)
		enc.Encode(piece[:], src[:n])
		b.Write(piece[:enc.EncodedLen(n)])
		src = src[n:]
	}
}

func (k *PrivateKey) encodeHeader(typ string) string {
	return encoding().EncodeToString([]byte(
		`{"alg":"` + string(k.public.suite.alg) + `","kid":"` + k.public.kid + `","typ":"` + typ + `"}`))
}
