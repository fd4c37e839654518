package ir

import (
	"maps"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// object is one object of the contract while it is being read. Whoever reads a
// keyword takes it; close refuses what nobody took.
type object struct {
	origin   *openapi3.Origin
	what     string
	taken    map[string]bool
	findings *Findings
}

// open begins to read an object; what names its sort in a finding.
func (b *builder) open(origin *openapi3.Origin, what string) *object {
	return &object{origin: origin, what: what, taken: make(map[string]bool), findings: &b.findings}
}

// take says that keywords have been read, or that they mean nothing to a client.
func (o *object) take(keywords ...string) {
	for _, keyword := range keywords {
		o.taken[keyword] = true
	}
}

// refuse reports a keyword that was read and cannot be carried out.
func (o *object) refuse(keyword, format string, args ...any) {
	o.take(keyword)
	o.findings.At(Place(o.origin, keyword), format, args...)
}

// close refuses every keyword that is left over.
func (o *object) close() {
	if o.origin == nil {
		return
	}
	for _, field := range o.origin.Fields {
		if !o.taken[field.Name] {
			o.findings.At(field, "%s: the generators do not know %q here: teach ir to read it, or leave it out", o.what, field.Name)
		}
	}
}

// extensions refuses those of a mapping that has no origin of its own: paths and
// responses. They are reported where it begins.
func (b *builder) extensions(all map[string]any, at openapi3.Location, what string) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		b.findings.At(at, "%s: the generators do not know %q here: teach ir to read it, or leave it out", what, name)
	}
}

// reference refuses what stands beside a $ref: OpenAPI 3.0 has it ignored, so that
// whoever wrote it means something that nobody does.
func (b *builder) reference(ref string, origin *openapi3.Origin) {
	if ref == "" {
		return
	}
	o := b.open(origin, "beside $ref")
	o.take("$ref")
	o.close()
}
