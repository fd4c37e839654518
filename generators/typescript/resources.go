package typescript

import (
	"fmt"
	"strings"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// resources writes a class for each resource, and one that has them all.
func resources(api *ir.API) emit.File {
	m := newModule()
	m.use("../transport.js", "Transport")
	for _, r := range api.Resources {
		m.resource(r)
	}
	m.Line("")
	comment(m.Writer, "What a client has: each resource under its name.")
	m.Block("export class Resources {", func() {
		for _, r := range api.Resources {
			comment(m.Writer, emit.Sentence(r.Doc))
			m.Line("readonly %s: %s;", r.Name.PlainCamel(), class(r))
		}
		m.Line("")
		m.Block("constructor(transport: Transport) {", func() {
			for _, r := range api.Resources {
				m.Line("this.%s = new %s(transport);", r.Name.PlainCamel(), class(r))
			}
		}, "}")
	}, "}")
	file := m.file("resources.ts")
	before, after, _ := strings.Cut(string(file.Data), "\n\n")
	file.Data = []byte(before + "\n\n" + `import * as operations from "./operations.js";` + "\n" + after)
	return file
}

func class(r *ir.Resource) string { return r.Name.Pascal() + "API" }

func paramsName(r *ir.Resource, op *ir.Operation) string {
	return r.Name.Pascal() + op.Verb.Pascal() + "Params"
}

func (m *module) resource(r *ir.Resource) {
	for _, op := range r.Calls() {
		if len(op.Query) > 0 {
			m.params(r, op)
		}
	}
	m.Line("")
	comment(m.Writer, emit.Sentence(r.Doc))
	m.Block(fmt.Sprintf("export class %s {", class(r)), func() {
		m.Line("readonly #transport: Transport;")
		m.Line("")
		m.Block("constructor(transport: Transport) {", func() {
			m.Line("this.#transport = transport;")
		}, "}")
		for _, op := range r.Calls() {
			m.Line("")
			m.method(r, op)
		}
	}, "}")
}

// params writes the query parameters of an operation, with the names of the wire.
func (m *module) params(r *ir.Resource, op *ir.Operation) {
	m.Line("")
	comment(m.Writer, fmt.Sprintf("The parameters of {@link %s.%s}.", class(r), op.Verb.PlainCamel()))
	m.Block(fmt.Sprintf("export interface %s {", paramsName(r, op)), func() {
		for _, p := range op.Query {
			comment(m.Writer, emit.Sentence(p.Doc))
			m.Line("%s?: %s | undefined;", key(p.Wire), m.named(p.Type))
		}
	}, "}")
}

// named is tsType in a module that declares no types of the contract.
func (m *module) named(t *ir.Type) string {
	for inner := t; inner != nil; inner = inner.Elem {
		switch inner.Kind {
		case ir.EnumOf:
			m.use("./models.js", inner.Enum.Name)
		case ir.ModelOf:
			m.use("./models.js", inner.Model.Name)
		}
	}
	return m.tsType(t, true)
}

func (m *module) method(r *ir.Resource, op *ir.Operation) {
	comment(m.Writer, emit.Paragraphs(emit.Sentence(op.Summary), emit.Sentence(op.Doc)))
	m.List(op.Verb.PlainCamel()+"(", m.arguments(r, op), "): "+m.returns(op)+" {")
	what := "request"
	if op.Page != nil {
		what = "paginate"
	}
	m.In(func() {
		call := "return this.#transport." + what + "(operations." + constant(op) + ", {"
		if line := call + " " + strings.Join(input(op), ", ") + " });"; len(line) <= m.Room() {
			m.Line("%s", line)
			return
		}
		m.Block(call, func() {
			for _, member := range input(op) {
				m.Line("%s,", member)
			}
		}, "});")
	})
	m.Line("}")
}

func (m *module) returns(op *ir.Operation) string {
	switch {
	case op.Page != nil:
		return m.use("../page.js", "Pages") + "<" + m.named(op.Page) + ">"
	case op.Result != nil:
		return m.use("../reply.js", "Reply") + "<" + m.named(op.Result) + ">"
	default:
		return m.use("../reply.js", "Reply") + "<void>"
	}
}

func (m *module) arguments(r *ir.Resource, op *ir.Operation) []string {
	var args []string
	for _, p := range op.PathParams {
		args = append(args, argument(p)+": "+m.named(p.Type))
	}
	if op.Body != nil {
		optional := "?"
		if op.Body.Required {
			optional = ""
		}
		args = append(args, "body"+optional+": "+m.use("./models.js", op.Body.Model.Name))
	}
	if len(op.Query) > 0 {
		args = append(args, "params?: "+paramsName(r, op))
	}
	options := "options?: " + m.use("../operation.js", "CallOptions")
	for _, p := range op.Headers {
		options += " & { " + p.Name.PlainCamel() + "?: string | undefined }"
	}
	return append(args, options)
}

func argument(p *ir.Param) string { return ir.TypeScriptIdent(p.Name.PlainCamel()) }

// input lists what a call adds to its operation.
func input(op *ir.Operation) []string {
	var members []string
	if len(op.PathParams) > 0 {
		var pairs []string
		for _, p := range op.PathParams {
			value := argument(p)
			if p.Type.Kind == ir.Integer || p.Type.Kind == ir.Boolean {
				value = "String(" + value + ")"
			}
			pairs = append(pairs, key(p.Wire)+": "+value)
		}
		members = append(members, "path: { "+strings.Join(pairs, ", ")+" }")
	}
	if len(op.Query) > 0 {
		members = append(members, "query: params")
	}
	if len(op.Headers) > 0 {
		var pairs []string
		for _, p := range op.Headers {
			pairs = append(pairs, key(p.Wire)+": options?."+p.Name.PlainCamel())
		}
		members = append(members, "headers: { "+strings.Join(pairs, ", ")+" }")
	}
	if op.Body != nil {
		members = append(members, "body")
	}
	return append(members, "options")
}
