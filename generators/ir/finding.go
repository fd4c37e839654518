package ir

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Finding is one thing that is wrong with the contract, and where.
type Finding struct {
	File         string
	Line, Column int
	Message      string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
}

// Findings are all that is wrong. They are an error when there are any.
type Findings []Finding

// At adds a finding at a location.
func (fs *Findings) At(at openapi3.Location, format string, args ...any) {
	*fs = append(*fs, Finding{at.File, at.Line, at.Column, fmt.Sprintf(format, args...)})
}

// Sorted gives the findings in the order of the source, each once.
func (fs Findings) Sorted() Findings {
	sorted := slices.Clone(fs)
	slices.SortStableFunc(sorted, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(sorted)
}

func (fs Findings) Error() string {
	lines := make([]string, 0, len(fs))
	for _, f := range fs.Sorted() {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// Key is the place of what an origin describes, or nowhere if it is unknown.
func Key(origin *openapi3.Origin) openapi3.Location {
	if origin == nil || origin.Key == nil {
		return openapi3.Location{}
	}
	return *origin.Key
}

// Place is the place of a keyword, or that of the whole if it is unknown.
func Place(origin *openapi3.Origin, keyword string) openapi3.Location {
	if origin != nil {
		if at, ok := origin.Fields.Lookup(keyword); ok {
			return at
		}
	}
	return Key(origin)
}
