package identity

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
)

// Prefix is the part of an id that tells what it names.
type Prefix string

// The prefixes of all ids. An id is never reused, not even after deletion.
const (
	PrefixServiceAccount Prefix = "sa"
	PrefixClientSecret   Prefix = "sec"
	PrefixAPIKey         Prefix = "key"
	PrefixResourceServer Prefix = "rs"
	PrefixRole           Prefix = "role"
	PrefixSigningKey     Prefix = "sig" // kids of older ones begin otherwise: nobody reads it
	PrefixAuditEvent     Prefix = "evt"
	PrefixAuditChain     Prefix = "chn"
	PrefixCheckpoint     Prefix = "chk"
	PrefixRequest        Prefix = "req"
	PrefixToken          Prefix = "tok"
)

// crockford is the lower-case base32 alphabet of Douglas Crockford: no i, l, o, u.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// idBodyLength is the length of the 128 bits behind the prefix in base32.
const idBodyLength = 26

// NewID makes an id: the prefix, an underscore, and 26 characters that hold 48
// bits of milliseconds and 80 random bits, so that ids sort by the time of
// their making and appending them to an index never writes to its middle.
func NewID(p Prefix, now time.Time) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	_, _ = rand.Read(b[6:]) // never fails: crypto/rand stops the process instead

	return FormatID(p, b)
}

// FormatID writes the 128 bits of an id behind its prefix.
func FormatID(p Prefix, b [16]byte) string {
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var space [64]byte
	out := append(append(space[:0], p...), '_')
	body := out[len(out) : len(out)+idBodyLength]
	// The lowest 60 bits, the next 60, and the 8 that are left.
	for i, mid := idBodyLength-1, lo>>60|hi<<4; i >= idBodyLength-12; i-- {
		body[i], body[i-12] = crockford[lo&31], crockford[mid&31]
		lo >>= 5
		mid >>= 5
	}
	body[1], body[0] = crockford[hi>>56&31], crockford[hi>>61]
	return string(out[:len(out)+idBodyLength])
}

// MadeAt is when an id that ParseID has accepted was made, to the millisecond.
func MadeAt(id string) time.Time {
	body := id[len(id)-idBodyLength:]
	var bits uint64 // of the 130 that 26 letters hold, the first two are 0
	for i := range 10 {
		bits = bits<<5 | uint64(strings.IndexByte(crockford, body[i]))
	}
	return time.UnixMilli(int64(bits)).UTC() // ten letters hold 2 + 48 bits
}

// ParseID checks that s is an id with the prefix p, in the one spelling that
// NewID makes. The value is untrusted text until this has returned nil.
func ParseID(p Prefix, s string) error {
	body, ok := strings.CutPrefix(s, string(p))
	if !ok || len(body) != 1+idBodyLength || body[0] != '_' || body[1] > '7' {
		return fault.Invalid("an id here is %s_ and %d characters of base32", p, idBodyLength)
	}
	for i := 1; i < len(body); i++ {
		if c := body[i]; (c < '0' || c > '9') && (c < 'a' || c > 'z' || c == 'i' || c == 'l' || c == 'o' || c == 'u') {
			return fault.Invalid("an id here is %s_ and %d characters of base32", p, idBodyLength)
		}
	}
	return nil
}
