package golang

import (
	"fmt"
	"strings"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// resources writes the attributes of a client.
func resources(api *ir.API) *body {
	w := newBody()
	w.Comment("//", "Resources are the calls of the API by what they are about. A [Client] has them all.")
	w.Block("type Resources struct {", func() {
		for _, r := range api.Resources {
			w.Comment("//", r.Doc)
			w.Line("%s *%s", r.Name.Pascal(), receiver(r))
		}
	}, "}")
	w.Line("")
	w.Block("func newResources(c *Client) Resources {", func() {
		w.Block("return Resources{", func() {
			for _, r := range api.Resources {
				w.Line("%s: &%s{client: c},", r.Name.Pascal(), receiver(r))
			}
		}, "}")
	}, "}")
	return w
}

// receiver is the type of a resource: a model may have its bare name.
func receiver(r *ir.Resource) string { return r.Name.Pascal() + "API" }

// resource writes one resource with its methods.
func resource(r *ir.Resource) *body {
	w := newBody()
	w.imports = []string{"context"}
	w.Comment("//", fmt.Sprintf("%s: %s", receiver(r), emit.Lower(emit.Sentence(r.Doc))))
	w.Line("type %s struct{ client *Client }", receiver(r))
	w.Line("")
	for _, op := range r.Calls() {
		if hasParams(op) {
			params(w, r, op)
		}
		if op.Page != nil {
			list(w, r, op)
		} else {
			call(w, r, op)
		}
	}
	return w
}

// hasParams tells whether an operation has a struct of parameters. If-Match is an
// option of the call, which the runtime has by hand.
func hasParams(op *ir.Operation) bool { return len(op.Query) > 0 }

func paramsName(r *ir.Resource, op *ir.Operation) string {
	return r.Name.Pascal() + op.Verb.Pascal() + "Params"
}

// params writes the struct of an operation's query parameters.
func params(w *body, r *ir.Resource, op *ir.Operation) {
	w.imports = insert(w.imports, "net/url")
	var types []*ir.Type
	of := paramsName(r, op)
	w.Comment("//", fmt.Sprintf("%s are the parameters of [%s.%s]. What has its zero value is not sent.", of, receiver(r), op.Verb.Pascal()))
	w.Block(fmt.Sprintf("type %s struct {", of), func() {
		for _, p := range op.Query {
			w.Comment("//", p.Doc)
			w.Line("%s %s", p.Name.Pascal(), paramType(p.Type, p.Unset))
			types = append(types, p.Type)
		}
	}, "}")
	for _, path := range imported(types...) {
		w.imports = insert(w.imports, path)
	}
	w.Line("")
	w.Block(fmt.Sprintf("func (p *%s) values() url.Values {", of), func() {
		w.Line("values := url.Values{}")
		w.Block("if p == nil {", func() { w.Line("return values") }, "}")
		for _, p := range op.Query {
			w.Line("setParam(values, %q, p.%s)", p.Wire, p.Name.Pascal())
		}
		w.Line("return values")
	}, "}")
	w.Line("")
}

// list writes the two methods of a list: one that iterates over all items, one
// that fetches a page.
func list(w *body, r *ir.Resource, op *ir.Operation) {
	w.imports = insert(w.imports, "iter")
	item := goType(op.Page)
	doc(w, op, "It iterates from the page that the parameters ask for to the end and fetches pages as it goes.")
	signature(w, r, op, "", fmt.Sprintf("iter.Seq2[%s, error]", item), func() {
		w.Line("return paginate[%s](ctx, r.client, %s, in)", item, variable(op))
	})
	w.Comment("//", fmt.Sprintf("%sPage fetches one page of [%s.%s].", op.Verb.Pascal(), receiver(r), op.Verb.Pascal()))
	signature(w, r, op, "Page", fmt.Sprintf("(*Page[%s], error)", item), func() {
		w.Line("return getPage[%s](ctx, r.client, %s, in)", item, variable(op))
	})
}

// call writes the method of an operation that is no list.
func call(w *body, r *ir.Resource, op *ir.Operation) {
	doc(w, op, "")
	if op.Result == nil {
		signature(w, r, op, "", "error", func() {
			w.Line("return r.client.do(ctx, %s, in, nil)", variable(op))
		})
		return
	}
	result := goType(op.Result)
	signature(w, r, op, "", fmt.Sprintf("(*%s, error)", result), func() {
		w.Line("out := new(%s)", result)
		w.Block(fmt.Sprintf("if err := r.client.do(ctx, %s, in, out); err != nil {", variable(op)),
			func() { w.Line("return nil, err") }, "}")
		w.Line("return out, nil")
	})
}

func signature(w *body, r *ir.Resource, op *ir.Operation, suffix, result string, inner func()) {
	w.List(fmt.Sprintf("func (r *%s) %s%s(", receiver(r), op.Verb.Pascal(), suffix), arguments(r, op), ") "+result+" {")
	w.In(func() {
		input(w, op)
		inner()
	})
	w.Line("}")
	w.Line("")
}

func arguments(r *ir.Resource, op *ir.Operation) []string {
	args := []string{"ctx context.Context"}
	for _, p := range op.PathParams {
		args = append(args, ir.GoIdent(p.Name.Camel())+" "+goType(p.Type))
	}
	if op.Body != nil {
		args = append(args, "body "+name(op.Body.Model.Name))
	}
	if hasParams(op) {
		args = append(args, "params *"+paramsName(r, op))
	}
	return append(args, "opts ...CallOption")
}

// input writes what a call adds to its operation.
func input(w *body, op *ir.Operation) {
	var members []string
	if len(op.PathParams) > 0 {
		var pairs []string
		for _, p := range op.PathParams {
			pairs = append(pairs, fmt.Sprintf("%q: %s", p.Wire, pathText(p)))
		}
		members = append(members, "path: map[string]string{"+strings.Join(pairs, ", ")+"}")
	}
	if hasParams(op) {
		members = append(members, "query: params.values()")
	}
	switch {
	case op.Body == nil:
	case op.Body.Form():
		members = append(members, "form: body.form()")
	case holdsSecret(op.Body.Model):
		members = append(members, "body: body.wire()")
	default:
		members = append(members, "body: body")
	}
	w.List("in := &input{", append(members, "opts: opts"), "}")
}

func pathText(p *ir.Param) string {
	ident := ir.GoIdent(p.Name.Camel())
	if p.Type.Kind == ir.String {
		return ident
	}
	return "paramText(" + ident + ")"
}

func doc(w *body, op *ir.Operation, more string) {
	w.Comment("//", emit.Paragraphs(emit.Sentence(op.Summary), emit.Sentence(op.Doc), more))
}
