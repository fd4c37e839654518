package ir

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// builder makes an API of a document and collects what it cannot express.
type builder struct {
	doc      *openapi3.T
	findings Findings

	models map[string]*Model // by the name of the component
	pages  map[string]*Type  // by the name of the component, the type of a page's items
	opened map[any]bool      // shared objects that have been read already
	api    *API
	enums  enums
}

// Build makes the model of a document that has been loaded with origins and
// found valid. It returns everything that it had to refuse.
func Build(doc *openapi3.T) (*API, Findings) {
	b := &builder{
		doc:    doc,
		models: make(map[string]*Model),
		pages:  make(map[string]*Type),
		opened: make(map[any]bool),
		api:    &API{},
	}
	b.document()
	b.components()
	b.operations()
	b.markUse()
	b.api.Enums, b.api.ErrorCodes = b.enums.settle(b.api)
	return b.api, b.findings
}

func (b *builder) document() {
	root := b.open(b.doc.Origin, "the document")
	root.take("openapi", "info", "servers", "security", "tags", "paths", "components")
	root.close()

	info := b.open(b.doc.Info.Origin, "info")
	info.take("title", "version", "description", "license")
	info.close()
	b.api.Title, b.api.Version, b.api.Doc = b.doc.Info.Title, b.doc.Info.Version, text(b.doc.Info.Description)

	if license := b.doc.Info.License; license != nil {
		o := b.open(license.Origin, "license")
		o.take("name", "url")
		o.close()
	}
	for _, server := range b.doc.Servers {
		o := b.open(server.Origin, "server")
		o.take("url", "description")
		o.close()
	}
	for _, tag := range b.doc.Tags {
		o := b.open(tag.Origin, "tag")
		o.take("name", "description")
		o.close()
	}
}

// components reads all components, whether or not an operation leads to them:
// the lint complains of those that none does.
func (b *builder) components() {
	c := b.doc.Components
	if c == nil {
		return
	}
	o := b.open(c.Origin, "components")
	o.take("schemas", "parameters", "headers", "responses", "securitySchemes")
	o.close()

	for _, name := range inSource(c.Schemas, func(s *openapi3.SchemaRef) *openapi3.Origin { return s.Value.Origin }) {
		b.component(name, c.Schemas[name])
	}
	for _, name := range inSource(c.SecuritySchemes, func(s *openapi3.SecuritySchemeRef) *openapi3.Origin { return s.Value.Origin }) {
		scheme := c.SecuritySchemes[name].Value
		o := b.open(scheme.Origin, "security scheme")
		o.take("type", "scheme", "bearerFormat", "description")
		if scheme.Type != "http" || name != scheme.Scheme || name != "bearer" && name != "basic" {
			o.refuse("type", "security scheme %s: only the HTTP schemes bearer and basic are known, under these names", name)
		}
		o.close()
	}
	for _, name := range inSource(c.Headers, func(h *openapi3.HeaderRef) *openapi3.Origin { return h.Value.Origin }) {
		b.header(c.Headers[name])
	}
}

// markUse follows the models from the operations and notes on which side of a
// call they stand.
func (b *builder) markUse() {
	var walk func(t *Type, mark func(*Model) bool)
	walk = func(t *Type, mark func(*Model) bool) {
		switch {
		case t == nil:
		case t.Kind == ModelOf:
			if mark(t.Model) {
				for _, f := range t.Model.Fields {
					walk(f.Type, mark)
				}
			}
		default:
			if t.Elem != nil {
				walk(t.Elem, mark)
			}
		}
	}
	read := func(m *Model) bool { fresh := !m.Read; m.Read = true; return fresh }
	written := func(m *Model) bool { fresh := !m.Written; m.Written = true; return fresh }
	for _, r := range b.api.Resources {
		for _, op := range r.Operations {
			walk(op.Result, read)
			walk(op.Page, read)
			walk(op.Stream, read)
			if op.Body != nil {
				op.Body.Model.Body = true
				walk(&Type{Kind: ModelOf, Model: op.Body.Model}, written)
			}
		}
	}
	for _, m := range b.api.Models {
		m.Failure = !m.Read && !m.Written
		for _, f := range m.Fields {
			for t := f.Type; t != nil; t = t.Elem {
				if t.Kind == ModelOf {
					t.Model.Within = true
				}
			}
		}
	}
}

// inSource gives the keys of a map in the order of the source.
func inSource[T any](m map[string]T, origin func(T) *openapi3.Origin) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		x, y := Key(origin(m[a])), Key(origin(m[b]))
		return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column), cmp.Compare(a, b))
	})
}

// text is a description without the line breaks that YAML gave it at its ends.
func text(s string) string { return strings.TrimSpace(s) }

// component is the name at the end of a reference into a section of components.
func component(ref, section string) (string, bool) {
	return strings.CutPrefix(ref, "#/components/"+section+"/")
}
