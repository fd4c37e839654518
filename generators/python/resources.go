package python

import (
	"fmt"
	"slices"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// flavour is one of the two ways to call: the same methods, awaited or not.
type flavour struct {
	file, doc                string
	prefix, def, wait        string
	transport, pager, holder string
}

var (
	blocking = flavour{
		file: "resources.py", doc: "The calls of the API, by what they are about.",
		def: "def", transport: "Transport", pager: "Pager", holder: "Resources",
	}
	async = flavour{
		file: "async_resources.py", doc: "The calls of the API, by what they are about, to be awaited.",
		prefix: "Async", def: "async def", wait: "await ",
		transport: "AsyncTransport", pager: "AsyncPager", holder: "AsyncResources",
	}
)

func (f flavour) class(r *ir.Resource) string { return f.prefix + r.Name.Pascal() + "API" }

// resources writes a class for each resource, and one that has them all.
func resources(api *ir.API, in flavour) emit.File {
	m := newModule(in.doc)
	m.runtime(in.transport)
	m.use("typing", "Unpack")
	m.runtime("RequestOptions")
	m.use("marque._generated", "operations as ops")
	for _, r := range api.Resources {
		m.Line("")
		m.Line("")
		m.Block(fmt.Sprintf("class %s:", in.class(r)), func() {
			docstring(m.Writer, emit.Sentence(r.Doc))
			m.Line("")
			m.Line(`__slots__ = ("_transport",)`)
			m.Line("")
			m.Block(fmt.Sprintf("def __init__(self, transport: %s) -> None:", in.transport), func() {
				m.Line("self._transport = transport")
			}, "")
			for i, op := range r.Calls() {
				if i > 0 {
					m.Line("")
				}
				m.method(op, in)
			}
		}, "")
	}
	m.Line("")
	m.Block(fmt.Sprintf("class %s:", in.holder), func() {
		docstring(m.Writer, "What a client has: each resource under its name.")
		m.Line("")
		for _, r := range api.Resources {
			m.Line("%s: %s", r.Name.Snake(), in.class(r))
			docstring(m.Writer, emit.Sentence(r.Doc))
		}
		m.Line("")
		m.Block(fmt.Sprintf("def __init__(self, transport: %s) -> None:", in.transport), func() {
			for _, r := range api.Resources {
				m.Line("self.%s = %s(transport)", r.Name.Snake(), in.class(r))
			}
		}, "")
	}, "")
	return m.file(in.file)
}

// argument is one parameter of a method, with where it goes.
type argument struct {
	name, wire, of, doc string
}

func (a argument) pair() string { return quoted(a.wire) + ": " + a.name }

// arguments gathers the parameters of a method: those of the path by position,
// the others by keyword, the required ones first.
func (m *module) arguments(op *ir.Operation) (path, query, headers, body []argument) {
	for _, p := range op.PathParams {
		path = append(path, argument{ir.PythonArgument(p.Name.Snake()), p.Wire, m.pyType(p.Type, true), p.Doc})
	}
	for _, p := range op.Query {
		query = append(query, argument{ir.PythonArgument(p.Name.Snake()), p.Wire, m.pyType(p.Type, true) + " | None = None", p.Doc})
	}
	for _, p := range op.Headers {
		headers = append(headers, argument{ir.PythonArgument(p.Name.Snake()), p.Wire, m.pyType(p.Type, true) + " | " + m.runtime("Unset") + " = " + m.runtime("UNSET"), p.Doc})
	}
	if op.Body == nil {
		return path, query, headers, nil
	}
	for _, required := range []bool{true, false} {
		for _, f := range op.Body.Model.Fields {
			if f.Required != required {
				continue
			}
			of := m.pyType(f.Type, true)
			if !required {
				of = m.plainType(f.Type, true) + " | " + m.runtime("Unset")
				if f.Type.Nullable {
					of += " | None"
				}
				of += " = " + m.runtime("UNSET")
			}
			body = append(body, argument{ir.PythonArgument(f.Name.Snake()), f.Wire, of, f.Doc})
		}
	}
	return path, query, headers, body
}

func (m *module) method(op *ir.Operation, in flavour) {
	path, query, headers, body := m.arguments(op)
	def, wait := in.def, in.wait
	if op.Page != nil {
		def, wait = "def", "" // a pager is iterated, and asks when it is
	}
	m.List(fmt.Sprintf("%s %s(", def, op.Verb.Snake()), m.signature(op), ") -> "+m.returns(op, in)+":")
	m.In(func() {
		m.describe(op, slices.Concat(path, body, query, headers))
		args := []string{"ops." + variable(op)}
		args = append(args, m.mapping("path", path)...)
		if len(query) > 0 {
			args = append(args, m.pairs("query", query))
		}
		args = append(args, m.mapping("headers", headers)...)
		args = append(args, m.mapping("body", body)...)
		what := "request"
		switch {
		case op.Page != nil:
			what = "paginate"
			args = append(args, "decode_item="+m.decoder(op.Page))
		case op.Result != nil:
			args = append(args, "decode="+m.decoder(op.Result))
		default:
			args = append(args, "decode="+m.runtime("no_content"))
		}
		before := "return " + wait + "self._transport." + what + "("
		if op.Result == nil && op.Page == nil {
			before = before[len("return "):]
		}
		m.nested(before, append(args, "options=options"), ")")
	})
}

// signature lists the parameters as they are declared.
func (m *module) signature(op *ir.Operation) []string {
	path, query, headers, body := m.arguments(op)
	params := []string{"self"}
	for _, a := range path {
		params = append(params, a.name+": "+a.of)
	}
	if len(path) > 0 {
		params = append(params, "/")
	}
	keywords := slices.Concat(body, query, headers)
	if len(keywords) > 0 {
		params = append(params, "*")
	}
	for _, a := range keywords {
		params = append(params, a.name+": "+a.of)
	}
	return append(params, "**options: Unpack[RequestOptions]")
}

func (m *module) returns(op *ir.Operation, in flavour) string {
	switch {
	case op.Page != nil:
		return m.runtime(in.pager) + "[" + m.pyType(op.Page, false) + "]"
	case op.Result != nil:
		return m.pyType(op.Result, false)
	default:
		return "None"
	}
}

// describe writes the documentation of a method with that of its parameters.
func (m *module) describe(op *ir.Operation, args []argument) {
	text := emit.Paragraphs(emit.Sentence(op.Summary), emit.Sentence(op.Doc))
	if len(args) == 0 {
		docstring(m.Writer, text)
		return
	}
	lines := emit.Wrap(escaped(text), m.Room()-3)
	for i, line := range lines {
		if i == 0 {
			line = `"""` + line
		}
		m.Line("%s", line)
	}
	m.Line("")
	m.Line("Args:")
	m.In(func() {
		for _, a := range args {
			for i, line := range emit.Wrap(a.name+": "+escaped(emit.Sentence(a.doc)), m.Room()-4) {
				if i > 0 {
					line = "    " + line
				}
				m.Line("%s", line)
			}
		}
	})
	m.Line(`"""`)
}

// mapping is a keyword argument that maps wire names to values; nothing, if there
// are none.
func (m *module) mapping(keyword string, args []argument) []string {
	if len(args) == 0 {
		return nil
	}
	pairs := make([]string, len(args))
	for i, a := range args {
		pairs[i] = a.pair()
	}
	return []string{m.fit(keyword+"={", pairs, "}")}
}

// pairs is a keyword argument that lists pairs of a wire name and a value.
func (m *module) pairs(keyword string, args []argument) string {
	pairs := make([]string, len(args))
	for i, a := range args {
		pairs[i] = "(" + quoted(a.wire) + ", " + a.name + ")"
	}
	return m.fit(keyword+"=[", pairs, "]")
}

// fit is a list as an argument of a call that is broken: in one line if it fits.
func (m *module) fit(before string, items []string, after string) string {
	line := before + join(items) + after
	if len(line)+1 <= m.Room()-4 {
		return line
	}
	text := before + "\n"
	for _, item := range items {
		text += "    " + item + ",\n"
	}
	return text + after
}

// nested writes a call whose arguments may be of several lines.
func (m *module) nested(before string, args []string, after string) {
	line := before + join(args) + after
	if len(line) <= m.Room() && !slices.ContainsFunc(args, multiline) {
		m.Line("%s", line)
		return
	}
	m.Line("%s", before)
	m.In(func() {
		for _, arg := range args {
			m.Lines(arg + ",")
		}
	})
	m.Line("%s", after)
}

func (m *module) decoder(t *ir.Type) string { return m.modelName(t.Model) + ".from_wire" }
