package marque

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// What a token may be made of. encoding/json is too kind for it: of two members
// of one name it takes the last, it matches names ignoring case, and it replaces
// what is not UTF-8. Two parsers could then read two tokens in one text.
const (
	maxTokenDepth   = 4  // cnf and act nest, nothing nests deeply
	maxMembers      = 64 // of one object
	maxNumberLength = 32 // 64 bits need 24 characters at most
)

// jsonMember is one member of an object: its name decoded, its value as text.
type jsonMember struct {
	name  string
	value string
}

// readObject reads a text that must be one JSON object (RFC 8259) in UTF-8,
// nested at most depth levels, in which no object has two members whose names
// are equal or differ in case only. It returns the members of the outermost
// object, whose strings share the text.
func readObject(text string, depth int) ([]jsonMember, bool) {
	r := jsonReader{text: text}
	r.space()
	if !utf8.ValidString(text) || r.peek() != '{' {
		return nil, false
	}
	members := make([]jsonMember, 0, 16)
	if !r.object(depth-1, &members) {
		return nil, false
	}
	r.space()
	return members, r.at == len(text)
}

// jsonReader walks a text once. Its methods report whether what they expect was
// there, and leave at behind it.
type jsonReader struct {
	text string
	at   int
}

// peek is the next byte, or 0 at the end; a 0 inside is no JSON either.
func (r *jsonReader) peek() byte {
	if r.at < len(r.text) {
		return r.text[r.at]
	}
	return 0
}

func (r *jsonReader) space() {
	for r.at < len(r.text) {
		switch r.text[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// eat takes one byte of punctuation and the white space around it.
func (r *jsonReader) eat(c byte) bool {
	r.space()
	if r.peek() != c {
		return false
	}
	r.at++
	r.space()
	return true
}

func (r *jsonReader) value(depth int) bool {
	switch c := r.peek(); {
	case c == '"':
		_, ok := r.str()
		return ok
	case c == '{':
		var members []jsonMember
		return depth > 0 && r.object(depth-1, &members)
	case c == '[':
		return depth > 0 && r.array(depth-1)
	case c == '-' || '0' <= c && c <= '9':
		return r.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(r.text[r.at:], word) {
			r.at += len(word)
			return true
		}
	}
	return false
}

func (r *jsonReader) object(depth int, members *[]jsonMember) bool {
	if !r.eat('{') {
		return false
	}
	if r.eat('}') {
		return true
	}
	for {
		name, ok := r.str()
		if !ok || len(*members) == maxMembers || !r.eat(':') {
			return false
		}
		for _, other := range *members {
			if strings.EqualFold(name, other.name) {
				return false
			}
		}
		start := r.at
		if !r.value(depth) {
			return false
		}
		*members = append(*members, jsonMember{name, r.text[start:r.at]})
		if !r.eat(',') {
			return r.eat('}')
		}
	}
}

func (r *jsonReader) array(depth int) bool {
	if !r.eat('[') {
		return false
	}
	if r.eat(']') {
		return true
	}
	for {
		if !r.value(depth) {
			return false
		}
		if !r.eat(',') {
			return r.eat(']')
		}
	}
}

// str reads a string and decodes it; only one with escapes is copied.
func (r *jsonReader) str() (string, bool) {
	if r.peek() != '"' {
		return "", false
	}
	start := r.at + 1
	for i := start; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == '"':
			r.at = i + 1
			return r.text[start:i], true
		case c == '\\':
			return r.escaped(start, i)
		case c < ' ':
			return "", false
		}
	}
	return "", false
}

// escaped goes on with a string that began at start, from its first escape.
func (r *jsonReader) escaped(start, i int) (string, bool) {
	var out strings.Builder
	out.WriteString(r.text[start:i])
	for i < len(r.text) {
		c := r.text[i]
		switch {
		case c == '"':
			r.at = i + 1
			return out.String(), true
		case c < ' ':
			return "", false
		case c != '\\':
			out.WriteByte(c)
			i++
			continue
		}
		if i+1 >= len(r.text) {
			return "", false
		}
		if at := strings.IndexByte(`"\/bfnrt`, r.text[i+1]); at >= 0 {
			out.WriteByte("\"\\/\b\f\n\r\t"[at])
			i += 2
			continue
		}
		char, size := unescape(r.text[i:])
		if size == 0 {
			return "", false
		}
		out.WriteRune(char)
		i += size
	}
	return "", false
}

// unescape reads \uXXXX, or two of them that are a surrogate pair. A surrogate
// alone is refused: it has no UTF-8 form, so that two names could become one.
func unescape(text string) (rune, int) {
	first, ok := hex4(text)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(first) {
		return first, 6
	}
	second, ok := hex4(text[6:])
	char := utf16.DecodeRune(first, second)
	if !ok || char == utf8.RuneError {
		return 0, 0
	}
	return char, 12
}

func hex4(text string) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	var r rune
	for i := 2; i < 6; i++ {
		digit := strings.IndexByte("0123456789abcdef", text[i]|0x20)
		if digit < 0 || text[i] < '0' {
			return 0, false
		}
		r = r<<4 | rune(digit)
	}
	return r, true
}

func (r *jsonReader) number() bool {
	start := r.at
	if r.peek() == '-' {
		r.at++
	}
	if whole := r.digits(); whole == 0 || whole > 1 && r.text[r.at-whole] == '0' {
		return false
	}
	if r.peek() == '.' {
		r.at++
		if r.digits() == 0 {
			return false
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		r.at++
		if c := r.peek(); c == '+' || c == '-' {
			r.at++
		}
		if r.digits() == 0 {
			return false
		}
	}
	return r.at-start <= maxNumberLength
}

func (r *jsonReader) digits() (n int) {
	for '0' <= r.peek() && r.peek() <= '9' {
		r.at++
		n++
	}
	return n
}

// stringValue decodes the text of a value that must be a string.
func stringValue(text string) (string, bool) {
	r := jsonReader{text: text}
	s, ok := r.str()
	return s, ok && r.at == len(text)
}

// integerValue reads the text of a value that must be a whole number in plain
// decimal, not negative and below 2^53, where JSON readers begin to disagree.
func integerValue(text string) (n int64, ok bool) {
	for i := range len(text) {
		c := text[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n >= 1<<53 {
			return 0, false
		}
	}
	return n, text != ""
}

// stringsValue reads the text of a value that must be a list of strings, none
// of them empty.
func stringsValue(text string) (list []string, ok bool) {
	r := jsonReader{text: text}
	if !r.eat('[') {
		return nil, false
	}
	if r.eat(']') {
		return nil, r.at == len(text)
	}
	for {
		s, ok := r.str()
		if !ok || s == "" {
			return nil, false
		}
		list = append(list, s)
		if !r.eat(',') {
			return list, r.eat(']') && r.at == len(text)
		}
	}
}
