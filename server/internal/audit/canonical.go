package audit

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// canonicalSize is room for the canonical bytes of a usual event.
const canonicalSize = 768

// AppendCanonical appends the bytes that are hashed: one JSON object, members
// in the fixed order below, empty ones left out, no white space, keys of
// details sorted. One event has exactly one such text; [Decode] accepts no
// other. "v" is the version of this format.
//
// It is written by hand: encoding/json promises neither the escapes nor the
// order from release to release, and this runs once for every token.
func AppendCanonical(b []byte, chain string, seq int64, e *Event) []byte {
	b = append(b, `{"v":1,"chain":`...)
	b = appendString(b, chain)
	b = append(b, `,"seq":`...)
	b = appendInt(b, seq)
	b = append(b, `,"id":`...)
	b = appendString(b, e.ID)
	b = append(b, `,"at":`...)
	b = appendTime(b, e.At)
	b = append(b, `,"type":`...)
	b = appendString(b, string(e.Type))
	b = append(b, `,"outcome":`...)
	b = appendString(b, string(e.Outcome))
	b = appendMember(b, `,"reason":`, e.Reason)
	b = appendMember(b, `,"actor":`, e.Actor)
	b = appendMember(b, `,"account_id":`, e.AccountID)
	b = appendMember(b, `,"subject":`, e.Subject)
	b = appendMember(b, `,"credential_id":`, e.CredentialID)
	b = appendMember(b, `,"audience":`, e.Audience)
	b = appendMember(b, `,"scope":`, e.Scope)
	b = appendMember(b, `,"token_id":`, e.TokenID)
	if e.Address.IsValid() {
		b = append(b, `,"address":"`...)
		b = appendAddress(b, e.Address)
		b = append(b, '"')
	}
	b = appendMember(b, `,"request_id":`, e.RequestID)
	b = appendMember(b, `,"trace_id":`, e.TraceID)
	if e.Count != 0 {
		b = append(b, `,"count":`...)
		b = appendInt(b, e.Count)
	}
	b = appendDetails(b, e.Details)
	return append(b, '}')
}

func appendDetails(b []byte, details map[string]string) []byte {
	keys := make([]string, 0, 8)
	for k, v := range details {
		if v != "" {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return b
	}
	slices.Sort(keys)
	b = append(b, `,"details":`...)
	sep := byte('{')
	for _, k := range keys {
		b = append(b, sep)
		b = appendString(b, k)
		b = append(b, ':')
		b = appendString(b, details[k])
		sep = ','
	}
	return append(b, '}')
}

// appendMember appends a member unless its value is empty.
func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendString(append(b, name...), value)
}

// appendString appends a JSON string. Only the quotation mark, the reverse
// solidus and control characters are escaped, the latter always as \u00xx;
// invalid UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return append(appendEscaped(append(b, s[:i]...), s[i:]), '"')
		}
	}
	return append(append(b, s...), '"')
}

func appendEscaped(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	for _, r := range s { // an invalid byte arrives here as U+FFFD
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[r>>4], digits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

func appendHash(b []byte, h Hash) []byte {
	return append(hex.AppendEncode(append(b, '"'), h[:]), '"')
}

func appendAddress(b []byte, a netip.Addr) []byte { return a.Unmap().WithZone("").AppendTo(b) }

// appendTime appends RFC 3339 in UTC with exactly six digits of fraction.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(b, '"')
	b = appendPadded(b, year, 4)
	b = appendPadded(append(b, '-'), int(month), 2)
	b = appendPadded(append(b, '-'), day, 2)
	b = appendPadded(append(b, 'T'), hour, 2)
	b = appendPadded(append(b, ':'), minute, 2)
	b = appendPadded(append(b, ':'), second, 2)
	b = appendPadded(append(b, '.'), t.Nanosecond()/int(time.Microsecond), 6)
	return append(b, 'Z', '"')
}

func appendPadded(b []byte, n, width int) []byte {
	var digits [6]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, digits[:width]...)
}
