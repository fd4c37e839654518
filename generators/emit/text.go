package emit

import (
	"strings"
	"unicode"
)

// Wrap breaks a text into lines of at most width columns. A blank line parts
// paragraphs; a line that begins with a hyphen begins an item of a list.
func Wrap(text string, width int) []string {
	var lines []string
	var words []string
	lead := ""
	flush := func() {
		lines = append(lines, fill(words, lead, width)...)
		words, lead = nil, ""
	}
	for line := range strings.Lines(strings.TrimSpace(text)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			flush()
			lines = append(lines, "")
			continue
		case strings.HasPrefix(line, "- "):
			flush()
			lead = "  "
		}
		words = append(words, strings.Fields(line)...)
	}
	flush()
	return lines
}

// fill puts words into lines, of which all but the first begin with lead.
func fill(words []string, lead string, width int) []string {
	var lines []string
	line := ""
	for _, word := range words {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) > width:
			lines = append(lines, line)
			line = lead + word
		default:
			line += " " + word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// Sentence gives a text a full stop if it ends in none.
func Sentence(text string) string {
	if text == "" || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

// Lower writes the first letter of a text small, unless it begins a word that is
// written in capitals.
func Lower(text string) string {
	runes := []rune(text)
	if len(runes) > 1 && unicode.IsUpper(runes[0]) && !unicode.IsUpper(runes[1]) && !unicode.IsDigit(runes[1]) {
		runes[0] = unicode.ToLower(runes[0])
	}
	return string(runes)
}

// Paragraphs joins texts that are not empty with a blank line between them.
func Paragraphs(texts ...string) string {
	var some []string
	for _, text := range texts {
		if text != "" {
			some = append(some, text)
		}
	}
	return strings.Join(some, "\n\n")
}
