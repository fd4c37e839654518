package emit

import (
	"slices"
	"strings"
	"testing"
)

func TestATextIsWrappedByParagraphsAndItems(t *testing.T) {
	t.Parallel()
	got := Wrap("One two\nthree four.\n\n- item one is long\n- item\n", 10)
	want := []string{"One two", "three", "four.", "", "- item one", "  is long", "- item"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestAWordThatIsTooLongStaysWhole(t *testing.T) {
	t.Parallel()
	if got := Wrap("a https://example.com/long b", 10); !slices.Equal(got, []string{"a", "https://example.com/long", "b"}) {
		t.Errorf("%q", got)
	}
}

func TestAListStandsInOneLineIfItFits(t *testing.T) {
	t.Parallel()
	w := New("  ")
	w.List("f(", []string{"a", "b"}, ")")
	long := strings.Repeat("x", Width-5)
	w.List("f(", []string{long, "b"}, ")")
	w.List("f(", []string{long + "x"}, ")")
	want := "f(a, b)\nf(\n  " + long + ",\n  b,\n)\nf(" + long + "x)\n"
	if got := w.String(); got != want {
		t.Errorf("%s", got)
	}
}

func TestSentencesBeginSmallUnlessTheyBeginWithAnAcronym(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"A thing.": "a thing.", "JWTs": "JWTs", "RFC 7662.": "RFC 7662.", "Who": "who"} {
		if got := Lower(text); got != want {
			t.Errorf("%q gave %q", text, got)
		}
	}
}
