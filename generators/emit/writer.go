// Package emit is what the emitters of all languages write with: lines with an
// indent, comments that wrap, and lists that stand in one line if they fit.
package emit

import (
	"fmt"
	"strings"
)

// Width is the number of columns that generated text keeps to.
const Width = 100

// File is a generated file, its path relative to the root of the repository.
type File struct {
	Path string
	Data []byte
}

// Writer collects the text of one file.
type Writer struct {
	unit   string // one level of indent
	tab    int    // the columns that unit takes
	depth  int
	text   strings.Builder
	indent string
}

// New makes a writer whose levels are indented by unit.
func New(unit string) *Writer {
	tab := len(unit)
	if unit == "\t" {
		tab = 4
	}
	return &Writer{unit: unit, tab: tab}
}

// File ends the writing.
func (w *Writer) File(path string) File { return File{path, []byte(w.text.String())} }

// String is the text so far.
func (w *Writer) String() string { return w.text.String() }

// Line writes one line; an empty one gets no indent.
func (w *Writer) Line(format string, args ...any) {
	line := format
	if len(args) > 0 {
		line = fmt.Sprintf(format, args...)
	}
	if line != "" {
		w.text.WriteString(w.indent)
		w.text.WriteString(line)
	}
	w.text.WriteByte('\n')
}

// Lines writes a text of several lines.
func (w *Writer) Lines(text string) {
	for line := range strings.Lines(text) {
		w.Line("%s", strings.TrimSuffix(line, "\n"))
	}
}

// In writes what inner writes one level deeper.
func (w *Writer) In(inner func()) {
	w.depth++
	w.indent = strings.Repeat(w.unit, w.depth)
	inner()
	w.depth--
	w.indent = strings.Repeat(w.unit, w.depth)
}

// Block writes a line, something deeper, and a line.
func (w *Writer) Block(before string, inner func(), after string) {
	w.Line("%s", before)
	w.In(inner)
	w.Line("%s", after)
}

// Room is how many columns are left in a line.
func (w *Writer) Room() int { return Width - w.depth*w.tab }

// Comment writes a text as comment lines that begin with prefix, wrapped.
func (w *Writer) Comment(prefix, text string) {
	for _, line := range Wrap(text, w.Room()-len(prefix)-1) {
		w.Line("%s", strings.TrimRight(prefix+" "+line, " "))
	}
}

// List writes before, the items with commas between them, and after: in one line
// if it fits, else each item in a line of its own, the last one with a comma too.
// These are the rules of ruff and of biome, so that neither finds anything to do.
func (w *Writer) List(before string, items []string, after string) {
	line := before + strings.Join(items, ", ") + after
	if len(items) == 0 || len([]rune(line)) <= w.Room() {
		w.Line("%s", line)
		return
	}
	w.Line("%s", before)
	w.In(func() {
		for _, item := range items {
			w.Line("%s,", item)
		}
	})
	w.Line("%s", after)
}
