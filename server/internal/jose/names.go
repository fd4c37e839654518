package jose

import (
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// unescape decodes the inside of a string that str has accepted.
func unescape(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			out.WriteByte(b[i])
			continue
		}
		i++
		switch b[i] {
		case 'b':
			out.WriteByte('\b')
		case 'f':
			out.WriteByte('\f')
		case 'n':
			out.WriteByte('\n')
		case 'r':
			out.WriteByte('\r')
		case 't':
			out.WriteByte('\t')
		case 'u':
			r, _ := hex4(b, i+1)
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := hex4(b, i+3)
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			out.WriteRune(r)
		default: // quote, backslash, slash
			out.WriteByte(b[i])
		}
	}
	return out.String()
}

// fold maps all names that encoding/json takes for one to the same text: each
// rune becomes the smallest of its case orbit, so that K, k and the Kelvin sign
// are one.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return r
		}
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}
