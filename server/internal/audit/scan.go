package audit

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"
)

// scanner reads canonical text from left to right. The first thing that is not
// as expected sets err, and everything after that reads as nothing.
//
// It need not refuse every other spelling by itself: the decoders write again
// what they have read and compare, which leaves one text for one value.
type scanner struct {
	text []byte
	at   int
	err  error
}

func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = errorf("not canonical at byte %d: "+format, append([]any{s.at}, args...)...)
	}
}

// try moves on when the text goes on with literal.
func (s *scanner) try(literal string) bool {
	if s.err != nil || !bytes.HasPrefix(s.text[s.at:], []byte(literal)) {
		return false
	}
	s.at += len(literal)
	return true
}

// expect moves on or fails.
func (s *scanner) expect(literal string) {
	if !s.try(literal) {
		s.fail("want %s", literal)
	}
}

// member reads an optional string member; without it the value is "".
func (s *scanner) member(name string) string {
	if !s.try(name) {
		return ""
	}
	return s.str()
}

// str reads a string.
func (s *scanner) str() string {
	s.expect(`"`)
	if s.err != nil {
		return ""
	}
	var unescaped []byte // nil until the first escape
	start := s.at
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case c == '"':
			out := append(unescaped, s.text[start:s.at]...)
			s.at++
			if !utf8.Valid(out) {
				s.fail("the text before is not UTF-8")
				return ""
			}
			return string(out)
		case c == '\\':
			unescaped = append(unescaped, s.text[start:s.at]...)
			unescaped = append(unescaped, s.escape())
			start = s.at
			if s.err != nil {
				return ""
			}
		case c < ' ':
			s.fail("a bare control character")
			return ""
		default:
			s.at++
		}
	}
	s.fail("the text has no end")
	return ""
}

// escape reads one of the escapes that appendString writes.
func (s *scanner) escape() byte {
	rest := s.text[s.at:]
	if len(rest) >= 2 && (rest[1] == '"' || rest[1] == '\\') {
		s.at += 2
		return rest[1]
	}
	const length = len(`\u001f`)
	if len(rest) >= length && bytes.HasPrefix(rest, []byte(`\u00`)) {
		if c, err := strconv.ParseUint(string(rest[4:length]), 16, 8); err == nil && c < ' ' {
			s.at += length
			return byte(c)
		}
	}
	s.fail("an escape that is never written")
	return 0
}

// integer reads a number without sign.
func (s *scanner) integer() int64 {
	start := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	n, err := strconv.ParseInt(string(s.text[start:s.at]), 10, 64)
	if err != nil {
		s.fail("want a number")
	}
	return n
}

// time reads an instant.
func (s *scanner) time() time.Time {
	text := s.str()
	t, err := time.Parse("2006-01-02T15:04:05.000000Z", text)
	if err != nil {
		s.fail("want a time in UTC with six digits of fraction")
	}
	return t
}

// hash reads 64 hexadecimal digits.
func (s *scanner) hash() Hash {
	var h Hash
	if b, err := hex.DecodeString(s.str()); err != nil || copy(h[:], b) != len(h) || len(b) != len(h) {
		s.fail("want a SHA-256 value")
	}
	return h
}

// end gives the verdict: everything was read, and it reads back the same.
func (s *scanner) end(again []byte) error {
	switch {
	case s.err != nil:
		return s.err
	case s.at != len(s.text):
		s.fail("%d bytes too many", len(s.text)-s.at)
	case !bytes.Equal(again, s.text):
		s.at = 0
		s.fail("another spelling of the same values")
	}
	return s.err
}
