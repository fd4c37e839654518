package jose

import "github.com/marque-id/marque/server/internal/fault"

// maxNumberLength bounds a number literal: the longest that 64 bits need has 24
// characters, and parsers differ in what they make of longer ones.
const maxNumberLength = 32

// Member is one member of a JSON object.
type Member struct {
	Name  string // decoded
	Value []byte // the JSON text of the value, without white space around it
}

type members []Member

// CheckJSON accepts b when it is one JSON value by RFC 8259, in UTF-8, nested
// at most depth levels, in which no object has two members of the same name,
// nor of names that differ only in case: parsers disagree on which of the two
// counts, encoding/json among them. The error is a fault that repeats nothing
// of b.
func CheckJSON(b []byte, depth int) error {
	s := scanner{text: b}
	return s.document(depth)
}

// ParseObject checks b as CheckJSON does, and returns the members of the object
// that it must be. Names are compared exactly, as RFC 7515 section 4 wants and
// encoding/json does not.
func ParseObject(b []byte, depth int) ([]Member, error) { return parseObject(b, depth) }

func parseObject(b []byte, depth int) (members, error) {
	s := scanner{text: b, collect: true}
	if err := s.document(depth); err != nil {
		return nil, err
	}
	if !s.isObject {
		return nil, fault.Invalid("the JSON text is not an object")
	}
	return s.members, nil
}

// text returns a member that must be there and be a string without escapes.
func (m members) text(name string) (string, error) {
	for _, member := range m {
		if member.Name == name {
			if s, ok := plainString(member.Value); ok && s != "" {
				return s, nil
			}
			return "", fault.Invalid("the member %s must be a plain string", name)
		}
	}
	return "", fault.Invalid("the member %s is missing", name)
}

// has reports whether there is a member of the name.
func (m members) has(name string) bool {
	for _, member := range m {
		if member.Name == name {
			return true
		}
	}
	return false
}

// plainString returns the text of a JSON string in which nothing is escaped and
// everything is printable ASCII. The value has passed the scanner.
func plainString(value []byte) (string, bool) {
	if len(value) < 2 || value[0] != '"' {
		return "", false
	}
	text := value[1 : len(value)-1]
	for _, c := range text {
		if c == '\\' || c < ' ' || c > '~' {
			return "", false
		}
	}
	return string(text), true
}
