package ir

import (
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// component reads a named schema. An object becomes a model; a named string or
// list is only a way to write a type once, and leaves no name behind.
func (b *builder) component(name string, ref *openapi3.SchemaRef) {
	if ref.Ref != "" {
		b.findings.At(Key(ref.Origin), "schema %s: a component that is only a reference to another has no use", name)
		return
	}
	switch {
	case b.isPage(ref.Value):
		b.page(name, ref.Value)
	case isModel(ref.Value):
		b.model(name)
	default:
		b.read(ref, place{holder: name})
	}
}

// place says where a schema stands, which is where an enumeration of it gets its
// name from.
type place struct {
	holder string // the model or operation
	wire   string // the member or parameter
}

// schema gives the type at a schema or a reference to one.
func (b *builder) schema(ref *openapi3.SchemaRef, at place) *Type {
	if ref == nil {
		return &Type{Kind: JSONObject}
	}
	b.reference(ref.Ref, ref.Origin)
	name, named := component(ref.Ref, "schemas")
	switch {
	case !named && ref.Ref != "":
		b.findings.At(Key(ref.Origin), "$ref %s: only references to #/components/schemas are known", ref.Ref)
		return &Type{}
	case named && isModel(ref.Value):
		return &Type{Kind: ModelOf, Model: b.model(name), Nullable: ref.Value.Nullable}
	case named:
		return b.read(ref, place{holder: name})
	case isModel(ref.Value):
		b.findings.At(Key(ref.Value.Origin), "an object with properties stands under a name of its own in #/components/schemas")
		return &Type{}
	}
	return b.read(ref, at)
}

// read is the one dispatch on what a schema can be.
func (b *builder) read(ref *openapi3.SchemaRef, at place) *Type {
	s := ref.Value
	o := b.open(s.Origin, "schema")
	o.take("type", "description", "example", "default", "nullable")
	defer func() {
		if !b.opened[s] {
			b.opened[s] = true
			o.close()
		}
	}()
	t := &Type{Nullable: s.Nullable}
	switch kind := soleType(s); kind {
	case openapi3.TypeString:
		o.take("minLength", "maxLength", "pattern", "x-oapi-codegen-extra-tags")
		b.stringType(t, s, o, at)
	case openapi3.TypeInteger:
		o.take("minimum", "maximum", "format")
		t.Kind = Integer
		switch s.Format {
		case "", "int32":
			t.Bits = 32
		case "int64":
			t.Bits = 64
		default:
			o.refuse("format", "integers have the format int32 or int64, not %q", s.Format)
		}
	case openapi3.TypeBoolean:
		t.Kind = Boolean
	case openapi3.TypeArray:
		o.take("items", "minItems", "maxItems")
		t.Kind, t.Elem = List, b.schema(s.Items, at)
		if t.Elem.Nullable {
			o.refuse("items", "the items of a list cannot be null")
		}
	case openapi3.TypeObject:
		b.freeObject(t, s, o, at)
	default:
		o.refuse("type", "type %s is not known: string, integer, boolean, array or object", orNone(kind))
	}
	return t
}

func (b *builder) stringType(t *Type, s *openapi3.Schema, o *object, at place) {
	o.take("format", "enum", "x-known-values", "x-secret")
	known, isOpen := s.Extensions["x-known-values"]
	secret := s.Extensions["x-secret"] == true
	values := s.Enum
	if isOpen {
		list, ok := known.([]any)
		if !ok || len(s.Enum) > 0 {
			o.refuse("x-known-values", "x-known-values is a list of strings, and stands where no enum does")
		}
		values = list
	}
	switch {
	case s.Format == "date-time" && len(values) == 0 && !secret:
		t.Kind = Timestamp
	case s.Format != "":
		o.refuse("format", "strings have the format date-time or none, not %q", s.Format)
	case secret && len(values) == 0:
		t.Kind = Secret
	case len(values) > 0 && !secret:
		t.Kind, t.Enum = EnumOf, b.enums.add(at, text(s.Description), values, o)
	case secret:
		o.refuse("x-secret", "a secret has no known values")
	}
}

// freeObject reads an object without properties: a map, or one that is opaque.
func (b *builder) freeObject(t *Type, s *openapi3.Schema, o *object, at place) {
	o.take("additionalProperties", "minProperties", "maxProperties")
	if s.AdditionalProperties.Schema == nil {
		t.Kind = JSONObject
		return
	}
	t.Kind, t.Elem = Map, b.schema(s.AdditionalProperties.Schema, at)
}

// model reads a named object with properties, once.
func (b *builder) model(name string) *Model {
	if m, ok := b.models[name]; ok {
		return m
	}
	return b.object(name, b.doc.Components.Schemas[name].Value)
}

// object reads an object with properties under a name.
func (b *builder) object(name string, s *openapi3.Schema) *Model {
	m := &Model{Name: name, Doc: text(s.Description)}
	b.models[name] = m // before its members, one of which may lead back here
	b.api.Models = append(b.api.Models, m)

	o := b.open(s.Origin, "schema")
	o.take("type", "description", "example", "required", "properties", "additionalProperties")
	if s.AdditionalProperties.Schema != nil || s.AdditionalProperties.Has != nil && *s.AdditionalProperties.Has {
		o.refuse("additionalProperties", "%s: an object has properties or additionalProperties, not both", name)
	}
	if soleType(s) != openapi3.TypeObject {
		o.refuse("type", "%s: what has properties is of type object", name)
	}
	for _, wire := range inSource(s.Properties, refOrigin) {
		ref := s.Properties[wire]
		m.Fields = append(m.Fields, &Field{
			Wire:     wire,
			Name:     ParseName(wire),
			Doc:      text(ref.Value.Description),
			Type:     b.schema(ref, place{holder: name, wire: wire}),
			Required: slices.Contains(s.Required, wire),
		})
	}
	for _, wire := range s.Required {
		if s.Properties[wire] == nil {
			o.refuse("required", "%s: %q is required and is no property", name, wire)
		}
	}
	o.close()
	return m
}

// isPage tells a page of a list by its members: items and next_page_token.
func (b *builder) isPage(s *openapi3.Schema) bool {
	items, token := s.Properties["items"], s.Properties["next_page_token"]
	return len(s.Properties) == 2 && items != nil && token != nil && items.Value.Type.Is(openapi3.TypeArray)
}

func (b *builder) page(name string, s *openapi3.Schema) *Type {
	if item, ok := b.pages[name]; ok {
		return item
	}
	o := b.open(s.Origin, "schema")
	o.take("type", "description", "example", "required", "properties")
	if !slices.Equal(s.Required, []string{"items"}) {
		o.refuse("required", "%s: of a page, items is required and next_page_token is not", name)
	}
	o.close()
	items := s.Properties["items"].Value
	in := b.open(items.Origin, "schema")
	in.take("type", "description", "items", "maxItems")
	in.close()
	b.read(s.Properties["next_page_token"], place{holder: name, wire: "next_page_token"})
	item := b.schema(items.Items, place{holder: strings.TrimSuffix(name, "List"), wire: "item"})
	b.pages[name] = item
	return item
}

func isModel(s *openapi3.Schema) bool { return len(s.Properties) > 0 }

// soleType is the one type that a schema has, or all of them when it has more or
// none.
func soleType(s *openapi3.Schema) string {
	if s.Type == nil {
		return ""
	}
	return strings.Join(*s.Type, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// refOrigin is where a schema is used, which for a reference is not where it
// stands.
func refOrigin(ref *openapi3.SchemaRef) *openapi3.Origin {
	if ref.Ref != "" {
		return ref.Origin
	}
	return ref.Value.Origin
}
