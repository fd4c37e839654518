package jose

import (
	"bytes"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/marque-id/marque/server/internal/fault"
)

// scanner walks JSON text once. It allocates names only.
type scanner struct {
	text     []byte
	pos      int
	collect  bool // keep the members of the outermost object
	members  members
	isObject bool
}

func (s *scanner) fail(what string) error {
	return fault.Invalid("the JSON text %s (at byte %d)", what, s.pos)
}

func (s *scanner) document(depth int) error {
	if !utf8.Valid(s.text) {
		return s.fail("is not UTF-8")
	}
	s.space()
	s.isObject = s.peek() == '{'
	if err := s.value(depth, s.collect && s.isObject); err != nil {
		return err
	}
	s.space()
	if s.pos != len(s.text) {
		return s.fail("goes on after its value")
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek is the next byte, or 0 at the end; a 0 in the text is not JSON either.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *scanner) value(depth int, keep bool) error {
	switch c := s.peek(); {
	case c == '{' || c == '[':
		if depth == 0 {
			return s.fail("is nested too deeply")
		}
		s.pos++
		if c == '{' {
			return s.object(depth-1, keep)
		}
		return s.array(depth - 1)
	case c == '"':
		return s.str()
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	default:
		for _, word := range [...]string{"true", "false", "null"} {
			if bytes.HasPrefix(s.text[s.pos:], []byte(word)) {
				s.pos += len(word)
				return nil
			}
		}
		return s.fail("is malformed")
	}
}

// maxMembers is more than any object has that we read. What comes after us may
// take its time for each name that it does not know.
const maxMembers = 64

func (s *scanner) object(depth int, keep bool) error {
	s.space()
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	seen := make(map[string]struct{})
	for {
		s.space()
		start := s.pos
		if s.peek() != '"' {
			return s.fail("is malformed")
		}
		if err := s.str(); err != nil {
			return err
		}
		name := unescape(s.text[start+1 : s.pos-1])
		folded := fold(name)
		if _, twice := seen[folded]; twice {
			return s.fail("repeats a member name")
		}
		if len(seen) == maxMembers {
			return s.fail("has an object with too many members")
		}
		seen[folded] = struct{}{}

		s.space()
		if s.peek() != ':' {
			return s.fail("is malformed")
		}
		s.pos++
		s.space()
		start = s.pos
		if err := s.value(depth, false); err != nil {
			return err
		}
		if keep {
			s.members = append(s.members, Member{name, s.text[start:s.pos]})
		}
		if done, err := s.next('}'); done || err != nil {
			return err
		}
	}
}

func (s *scanner) array(depth int) error {
	s.space()
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for {
		s.space()
		if err := s.value(depth, false); err != nil {
			return err
		}
		if done, err := s.next(']'); done || err != nil {
			return err
		}
	}
}

// next reads a comma, or the end of the container.
func (s *scanner) next(end byte) (done bool, err error) {
	s.space()
	c := s.peek()
	if c != ',' && c != end {
		return false, s.fail("is malformed")
	}
	s.pos++
	return c == end, nil
}

// str reads a string. Lone surrogates are refused: they have no UTF-8 form, so
// that two different names could become the same text.
func (s *scanner) str() error {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c < ' ':
			return s.fail("has a control character in a string")
		case c == '\\':
			s.pos++
			switch s.peek() {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if !s.unicodeEscape() {
					return s.fail("has a malformed escape")
				}
			default:
				return s.fail("has a malformed escape")
			}
		}
	}
	return s.fail("ends inside a string")
}

// unicodeEscape reads what follows a backslash: uXXXX, or a pair of surrogates.
// It leaves pos at the last character of it.
func (s *scanner) unicodeEscape() bool {
	r, ok := hex4(s.text, s.pos+1)
	if !ok {
		return false
	}
	s.pos += 4
	if !utf16.IsSurrogate(r) {
		return true
	}
	if s.pos+2 >= len(s.text) || s.text[s.pos+1] != '\\' || s.text[s.pos+2] != 'u' {
		return false
	}
	low, ok := hex4(s.text, s.pos+3)
	if !ok || utf16.DecodeRune(r, low) == unicode.ReplacementChar {
		return false
	}
	s.pos += 6
	return true
}

func hex4(b []byte, at int) (rune, bool) {
	if at+4 > len(b) {
		return 0, false
	}
	var r rune
	for _, c := range b[at : at+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func (s *scanner) number() error {
	start := s.pos
	if s.peek() == '-' {
		s.pos++
	}
	whole := s.digits()
	if whole == 0 || whole > 1 && s.text[s.pos-whole] == '0' {
		return s.fail("has a malformed number")
	}
	if s.peek() == '.' {
		s.pos++
		if s.digits() == 0 {
			return s.fail("has a malformed number")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if s.digits() == 0 {
			return s.fail("has a malformed number")
		}
	}
	if s.pos-start > maxNumberLength {
		return s.fail("has too long a number")
	}
	return nil
}

func (s *scanner) digits() (n int) {
	for '0' <= s.peek() && s.peek() <= '9' {
		s.pos++
		n++
	}
	return n
}
