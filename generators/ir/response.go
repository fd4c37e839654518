package ir

import (
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// responses reads what an operation answers. Of the successes exactly one may
// have content; errors are all of one form and not the operation's own.
func (b *builder) responses(op *Operation, responses *openapi3.Responses, of *object) {
	all := responses.Map()
	b.extensions(responses.Extensions, Place(of.origin, "responses"), "responses")
	var results int
	for _, status := range inSource(all, func(r *openapi3.ResponseRef) *openapi3.Origin { return r.Value.Origin }) {
		ref := all[status]
		b.reference(ref.Ref, ref.Origin)
		b.response(ref.Value)
		switch {
		case status == "304", status == "default", status[0] == '4', status[0] == '5':
			continue // 304 answers only a condition that no client of ours sets
		case status[0] != '2':
			of.refuse("responses", "%s: status %s is not known", op.ID, status)
			continue
		}
		if results++; results > 1 {
			of.refuse("responses", "%s: there is one success, not several", op.ID)
		}
		if len(ref.Value.Content) > 0 {
			b.result(op, ref.Value, of)
		}
	}
	if results == 0 {
		of.refuse("responses", "%s: there is no success among the responses", op.ID)
	}
}

// eventStream is the content type of server-sent events.
const eventStream = "text/event-stream"

func (b *builder) result(op *Operation, response *openapi3.Response, of *object) {
	if media := response.Content[eventStream]; media != nil {
		b.stream(op, response, media, of)
		return
	}
	media := response.Content["application/json"]
	if len(response.Content) > 1 || media == nil || media.Schema == nil {
		of.refuse("responses", "%s: a success is application/json with a schema, or has no content", op.ID)
		return
	}
	if name, named := component(media.Schema.Ref, "schemas"); named && b.isPage(media.Schema.Value) {
		op.Page = b.page(name, media.Schema.Value)
		return
	}
	t := b.schema(media.Schema, place{holder: ParseName(op.ID).Plain()})
	if t.Kind != ModelOf {
		of.refuse("responses", "%s: a success is an object under a name of its own", op.ID)
		return
	}
	op.Result = t
}

// stream reads what a stream of server-sent events carries: an object under a
// name of its own with a member for each event. None of them is required, since
// each stands alone, and each is an object, the JSON of the event's data.
func (b *builder) stream(op *Operation, response *openapi3.Response, media *openapi3.MediaType, of *object) {
	if len(response.Content) > 1 || op.Method != "GET" {
		of.refuse("responses", "%s: a stream of events answers GET, and is all that its success is", op.ID)
		return
	}
	if media.Schema == nil || !isModel(media.Schema.Value) {
		of.refuse("responses", "%s: a stream of events has a schema with a member for each event", op.ID)
		return
	}
	t := b.schema(media.Schema, place{holder: ParseName(op.ID).Plain()})
	if t.Kind != ModelOf {
		of.refuse("responses", "%s: the events of a stream are an object under a name of its own", op.ID)
		return
	}
	for _, f := range t.Model.Fields {
		if f.Required || f.Type.Kind != ModelOf || f.Type.Nullable {
			of.refuse("responses", "%s: the event %s is an object under a name of its own, and not required", op.ID, f.Wire)
		}
	}
	op.Stream = t
}

func (b *builder) response(r *openapi3.Response) {
	if b.opened[r] {
		return
	}
	b.opened[r] = true
	o := b.open(r.Origin, "response")
	o.take("description", "headers", "content")
	o.close()
	for _, name := range inSource(r.Headers, func(h *openapi3.HeaderRef) *openapi3.Origin { return h.Value.Origin }) {
		b.header(r.Headers[name])
	}
	for _, name := range inSource(r.Content, func(m *openapi3.MediaType) *openapi3.Origin { return m.Origin }) {
		media := b.media(r.Content[name])
		if media.Schema != nil && !b.isPage(media.Schema.Value) {
			b.schema(media.Schema, place{})
		}
	}
}

// header reads a header of an answer. Clients see them all in the raw response,
// so that none of them needs a type.
func (b *builder) header(ref *openapi3.HeaderRef) {
	b.reference(ref.Ref, ref.Origin)
	h := ref.Value
	if b.opened[h] {
		return
	}
	b.opened[h] = true
	o := b.open(h.Origin, "header")
	o.take("description", "required", "schema")
	if h.Schema == nil || !slices.Contains([]string{openapi3.TypeString, openapi3.TypeInteger}, soleType(h.Schema.Value)) {
		o.refuse("schema", "a header is a string or an integer")
	} else {
		b.schema(h.Schema, place{})
	}
	o.close()
}
