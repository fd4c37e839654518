package main

import (
	"iter"
	"maps"
	"regexp"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/generators/ir"
)

var secretName = regexp.MustCompile(`(^|_)(secret|password|private_key|api_key|assertion)$|^(access_|refresh_|subject_|actor_)?token$`)

// longestName is how long the name of a member may be for generated lines to keep
// to their width.
const longestName = 48

// members asks for x-secret on what by its name is one, and for names that are not too long.
func (l *linter) members() {
	seen := make(map[*openapi3.Schema]bool)
	var walk func(name string, ref *openapi3.SchemaRef)
	walk = func(name string, ref *openapi3.SchemaRef) {
		if ref == nil || seen[ref.Value] {
			return
		}
		s := ref.Value
		seen[s] = true
		mark, marked := s.Extensions["x-secret"]
		switch {
		case marked && (mark != true || !s.Type.Is("string")):
			l.findings.At(ir.Place(s.Origin, "x-secret"), "x-secret is true, on a string")
		case !marked && s.Type.Is("string") && secretName.MatchString(name):
			l.findings.At(ir.Key(s.Origin), "%s: by its name it is a secret: it has x-secret: true, or another name", name)
		}
		for name, property := range inOrder(s.Properties) {
			if len(name) > longestName {
				l.findings.At(ir.Key(property.Value.Origin), "%s: a name has at most %d letters", name, longestName)
			}
			walk(name, property)
		}
		walk(name, s.Items)
		walk(name, s.AdditionalProperties.Schema)
	}
	l.schemas(walk)
}

// schemas visits the schemas of components and of request bodies: the places
// where objects are described.
func (l *linter) schemas(visit func(string, *openapi3.SchemaRef)) {
	if l.doc.Components != nil {
		for name, ref := range inOrder(l.doc.Components.Schemas) {
			visit(name, ref)
		}
	}
	for _, item := range inOrder(l.doc.Paths.Map()) {
		for _, op := range inOrder(item.Operations()) {
			if op.RequestBody != nil {
				for _, media := range inOrder(op.RequestBody.Value.Content) {
					visit("", media.Schema)
				}
			}
		}
	}
}

// unused complains of components that nothing refers to.
func (l *linter) unused() {
	if l.doc.Components == nil {
		return
	}
	used := references(l.doc)
	complain := func(section, name string, o *openapi3.Origin) {
		if !used["#/components/"+section+"/"+name] {
			l.findings.At(ir.Key(o), "nothing refers to #/components/%s/%s", section, name)
		}
	}
	for name, schema := range inOrder(l.doc.Components.Schemas) {
		complain("schemas", name, schema.Value.Origin)
	}
	for name, parameter := range inOrder(l.doc.Components.Parameters) {
		complain("parameters", name, parameter.Value.Origin)
	}
	for name, response := range inOrder(l.doc.Components.Responses) {
		complain("responses", name, response.Value.Origin)
	}
	for name, header := range inOrder(l.doc.Components.Headers) {
		complain("headers", name, header.Value.Origin)
	}
}

// inOrder ranges over a map in the order of its keys, so that the same contract
// has the same findings each time.
func inOrder[T any](m map[string]T) iter.Seq2[string, T] {
	return func(yield func(string, T) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

// references collects every $ref that is written in a document.
func references(doc *openapi3.T) map[string]bool {
	used := make(map[string]bool)
	data, err := doc.MarshalJSON()
	if err != nil {
		return used
	}
	for _, match := range refText.FindAllSubmatch(data, -1) {
		used[string(match[1])] = true
	}
	return used
}

var refText = regexp.MustCompile(`"\$ref":"([^"]+)"`)
