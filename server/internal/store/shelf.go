package store

import "strings"

// shelfSize is small beside what a server has in memory anyway, and large beside
// an account: some two hundred fit.
const shelfSize = 64 << 10

// shelf keeps many texts in few objects. A million texts, each an object of its
// own, are a million places that the collector must visit in each of its cycles;
// here it visits one for some two hundred. A text stays in memory as long as any
// that stands in the same object is referred to: see [snapshots.tidy].
type shelf struct{ open strings.Builder }

// keep copies the text to the shelf. What was kept before is never written to
// again, so it may be read meanwhile.
func (s *shelf) keep(text string) string {
	if s.open.Cap()-s.open.Len() < len(text) {
		s.open.Reset() // the old object belongs to those who refer to it
		s.open.Grow(max(shelfSize, len(text)))
	}
	from := s.open.Len()
	s.open.WriteString(text)
	return s.open.String()[from:]
}
