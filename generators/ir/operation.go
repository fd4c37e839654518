package ir

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// OAuthPath is where the endpoints of RFC 6749 and its kin are. They have errors
// of their own form, and their clients authenticate themselves.
const OAuthPath = "/oauth2/"

// OAuthTag is on every operation that gives or judges tokens: those of OAuthPath,
// and what does the same elsewhere.
const OAuthTag = "oauth"

// IdempotencyKey is the header by which a server tells a repetition from a new call.
const IdempotencyKey = "Idempotency-Key"

var idForm = regexp.MustCompile(`^[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*$`)

// operations reads all paths in the order of the source.
func (b *builder) operations() {
	items := b.doc.Paths.Map()
	b.extensions(b.doc.Paths.Extensions, Place(b.doc.Origin, "paths"), "paths")
	for _, path := range inSource(items, func(i *openapi3.PathItem) *openapi3.Origin { return i.Origin }) {
		item := items[path]
		o := b.open(item.Origin, "path")
		o.take("parameters")
		methods := item.Operations()
		for _, method := range inSource(methods, func(op *openapi3.Operation) *openapi3.Origin { return op.Origin }) {
			o.take(strings.ToLower(method))
			b.operation(method, path, item, methods[method])
		}
		o.close()
	}
}

func (b *builder) operation(method, path string, item *openapi3.PathItem, op *openapi3.Operation) {
	o := b.open(op.Origin, "operation")
	o.take("operationId", "tags", "summary", "description", "parameters", "requestBody", "responses", "security", "x-idempotent")
	defer o.close()
	if !idForm.MatchString(op.OperationID) {
		o.refuse("operationId", "operationId %q is not of the form resource.verb", op.OperationID)
		return
	}
	resource, verb, _ := strings.Cut(op.OperationID, ".")
	result := &Operation{
		ID: op.OperationID, Verb: ParseName(verb), Method: method, Path: path,
		Summary: text(op.Summary), Doc: text(op.Description),
		OAuth: strings.HasPrefix(path, OAuthPath) || slices.Contains(op.Tags, OAuthTag),
	}
	result.Idempotent = slices.Contains([]string{"GET", "HEAD", "PUT", "DELETE"}, method) || op.Extensions["x-idempotent"] == true
	result.Auth = b.auth(op, o)
	b.parameters(result, slices.Concat(item.Parameters, op.Parameters), isStream(op), o)
	if op.RequestBody != nil {
		result.Body = b.body(op.OperationID, op.RequestBody, o)
	}
	b.responses(result, op.Responses, o)
	b.resource(resource, op).Operations = append(b.resource(resource, op).Operations, result)
}

// resource is the resource of a name, made when it is first met and described by
// the tag of its first operation.
func (b *builder) resource(name string, op *openapi3.Operation) *Resource {
	for _, r := range b.api.Resources {
		if r.Name.Snake() == name {
			return r
		}
	}
	r := &Resource{Name: ParseName(name)}
	if len(op.Tags) > 0 {
		if tag := b.doc.Tags.Get(op.Tags[0]); tag != nil {
			r.Doc = text(tag.Description)
		}
	}
	b.api.Resources = append(b.api.Resources, r)
	return r
}

// auth knows the three ways to sign that the contract uses.
func (b *builder) auth(op *openapi3.Operation, o *object) Auth {
	requirements := b.doc.Security
	if op.Security != nil {
		requirements = *op.Security
	}
	var names []string
	for _, alternative := range requirements {
		names = append(names, strings.Join(slices.Sorted(maps.Keys(alternative)), "+"))
	}
	switch way := strings.Join(names, "|"); way {
	case "":
		return AuthNone
	case "bearer":
		return AuthBearer
	case "basic|", "basic|bearer|":
		return AuthClient
	default:
		o.refuse("security", "security %q is none of: bearer; basic or the form; basic, bearer or the form; nobody", way)
		return AuthNone
	}
}

func (b *builder) parameters(op *Operation, refs openapi3.Parameters, streams bool, of *object) {
	for _, ref := range refs {
		p := ref.Value
		b.reference(ref.Ref, ref.Origin)
		o := b.open(p.Origin, "parameter")
		o.take("name", "in", "description", "required", "schema")
		t := b.schema(p.Schema, place{holder: ParseName(op.ID).Plain(), wire: p.Name})
		if t.Enum != nil && t.Enum.Doc == "" {
			t.Enum.Doc = text(p.Description)
		}
		param := &Param{
			Wire: p.Name, Name: ParseName(p.Name), Doc: text(p.Description),
			Type: t, Required: p.Required, Unset: unset(t, p.Schema.Value),
		}
		switch {
		case p.In == openapi3.ParameterInPath && scalar(t):
			op.PathParams = append(op.PathParams, param)
		case p.In == openapi3.ParameterInQuery && (scalar(t) || t.Kind == List && scalar(t.Elem)):
			op.Query = append(op.Query, param)
		case p.In == openapi3.ParameterInHeader && p.Name == "If-Match" && t.Kind == String && !p.Required:
			op.Headers = append(op.Headers, param)
		case p.In == openapi3.ParameterInHeader && p.Name == IdempotencyKey && t.Kind == String && !p.Required:
			// The runtimes send one of their own for each logical call, and have an
			// option for the caller's: no method has an argument for it.
		case p.In == openapi3.ParameterInHeader && p.Name == "Last-Event-ID" && streams && t.Kind == String && !p.Required:
			op.Headers = append(op.Headers, param)
		default:
			o.refuse("in", "parameter %s: in the path a scalar, in the query a scalar or a list of them, in the header only If-Match, Idempotency-Key, and Last-Event-ID of a stream, which the runtimes know", p.Name)
		}
		if p.In == openapi3.ParameterInQuery && p.Required {
			o.refuse("required", "parameter %s: what is required stands in the path or the body", p.Name)
		}
		if !b.opened[p] {
			b.opened[p] = true
			o.close()
		}
	}
	slices.SortStableFunc(op.PathParams, func(x, y *Param) int {
		return cmp.Compare(strings.Index(op.Path, "{"+x.Wire+"}"), strings.Index(op.Path, "{"+y.Wire+"}"))
	})
}

// isStream tells whether an operation answers with server-sent events.
func isStream(op *openapi3.Operation) bool {
	for _, response := range op.Responses.Map() {
		if response.Value.Content[eventStream] != nil {
			return true
		}
	}
	return false
}

func scalar(t *Type) bool {
	return slices.Contains([]Kind{String, Integer, Boolean, Timestamp, EnumOf}, t.Kind) && !t.Nullable
}

// unset tells whether the zero value of a type is never a legal value: an empty
// string filters nothing in any of our lists.
func unset(t *Type, s *openapi3.Schema) bool {
	switch t.Kind {
	case Boolean:
		return false
	case Integer:
		return s.Min != nil && *s.Min > 0
	default:
		return true
	}
}

// body reads what an operation sends. An object that stands there without a name
// (the forms of OAuth) is named after the operation.
func (b *builder) body(id string, ref *openapi3.RequestBodyRef, of *object) *Body {
	b.reference(ref.Ref, ref.Origin)
	o := b.open(ref.Value.Origin, "request body")
	o.take("description", "required", "content")
	o.close()
	for _, contentType := range slices.Sorted(maps.Keys(ref.Value.Content)) {
		media := b.media(ref.Value.Content[contentType])
		body := &Body{Required: ref.Value.Required, ContentType: contentType}
		switch {
		case len(ref.Value.Content) > 1:
			o.refuse("content", "%s: a body has one content type", id)
		case !slices.Contains([]string{"application/json", "application/merge-patch+json", "application/x-www-form-urlencoded"}, contentType):
			o.refuse("content", "%s: content type %s is not known", id, contentType)
		case media.Schema == nil || !isModel(media.Schema.Value):
			o.refuse("content", "%s: a body is an object with properties", id)
		case media.Schema.Ref != "":
			body.Model = b.schema(media.Schema, place{}).Model
			return body
		default:
			body.Model = b.object(ParseName(id).Plain()+"Request", media.Schema.Value)
			return body
		}
	}
	return nil
}

func (b *builder) media(m *openapi3.MediaType) *openapi3.MediaType {
	if !b.opened[m] {
		b.opened[m] = true
		o := b.open(m.Origin, "content")
		o.take("schema", "example")
		o.close()
	}
	return m
}
