package python

import (
	"fmt"
	"strings"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

const modelsDoc = "What the server answers, and what stands within a request."

// models writes a frozen dataclass for each model. The bodies of requests are
// none: their members are keyword arguments of the methods.
func models(api *ir.API) emit.File {
	m := newModule(modelsDoc)
	for _, name := range []string{"Any", "Final"} {
		m.use("typing", name)
	}
	m.use("collections.abc", "Mapping")
	m.runtime("Wire")
	m.Block("def _unknown(data: Wire, known: frozenset[str]) -> Mapping[str, Any]:", func() {
		m.Line("return {name: value for name, value in data.items() if name not in known}")
	}, "")
	for _, model := range api.Models {
		if !hidden(model) {
			m.model(model)
		}
	}
	return m.file("models.py")
}

// hidden tells which models Python does without: those of errors, which APIError
// has, and those that are nothing but the body of a request.
func hidden(m *ir.Model) bool { return m.Failure || m.Body && !m.Read && !m.Within }

func (m *module) model(of *ir.Model) {
	known := "_" + ir.ParseName(of.Name).Screaming()
	var wires []string
	for _, f := range of.Fields {
		wires = append(wires, quoted(f.Wire))
	}
	m.Line("")
	m.frozenset(known, wires)
	m.Line("")
	m.Line("")
	m.use("dataclasses", "dataclass")
	m.Line("@dataclass(frozen=True, slots=True, kw_only=True)")
	m.Block(fmt.Sprintf("class %s(%s):", of.Name, m.runtime("Model")), func() {
		docstring(m.Writer, emit.Sentence(of.Doc))
		m.Line("")
		for _, f := range of.Fields {
			m.Line("%s: %s", attribute(f), m.fieldType(f))
			if f.Doc != "" {
				docstring(m.Writer, emit.Sentence(f.Doc))
			}
		}
		m.use("dataclasses", "field")
		m.Line("extra: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)")
		docstring(m.Writer, "Members that this release does not know.")
		m.Line("")
		m.fromWire(of, known)
		m.Line("")
		m.toWire(of)
	}, "")
}

// frozenset writes a constant that holds strings, as ruff would break it.
func (m *module) frozenset(name string, items []string) {
	m.use("typing", "Final")
	before := name + ": Final = frozenset("
	line := before + "{" + join(items) + "})"
	if len(line) <= m.Room() {
		m.Line("%s", line)
		return
	}
	m.Line("%s", before)
	m.In(func() { m.List("{", items, "}") })
	m.Line(")")
}

// fieldType is the type of an attribute. An absent member that cannot be null is
// None; where null says something of its own, absent is UNSET.
func (m *module) fieldType(f *ir.Field) string {
	spelled := m.pyType(f.Type, false)
	switch {
	case f.Required:
		return spelled
	case f.Type.Nullable:
		return m.plainType(f.Type, false) + " | " + m.runtime("Unset") + " | None = " + m.runtime("UNSET")
	default:
		return spelled + " | None = None"
	}
}

func (m *module) fromWire(of *ir.Model, known string) {
	m.Line("@classmethod")
	m.Block(fmt.Sprintf("def from_wire(cls, data: Wire) -> %s:", of.Name), func() {
		docstring(m.Writer, "Reads the JSON object of the contract.")
		m.Block("return cls(", func() {
			for _, f := range of.Fields {
				m.argument(attribute(f), m.read(f))
			}
			m.Line("extra=_unknown(data, %s),", known)
		}, ")")
	}, "")
}

// argument writes name=value, broken as ruff breaks it.
func (m *module) argument(name string, value expression) {
	line := value.then
	if value.when != "" {
		line += " if " + value.when + " else " + value.otherwise
	}
	switch {
	case len(name)+1+len(line)+1 <= m.Room():
		m.Line("%s=%s,", name, line)
	case value.when == "":
		m.broken(name + "=" + line + ",")
	case len(line)+4 <= m.Room():
		m.Block(name+"=(", func() { m.Line("%s", line) }, "),")
	default:
		m.Block(name+"=(", func() {
			m.Line("%s", value.then)
			m.Line("if %s", value.when)
			m.Line("else %s", value.otherwise)
		}, "),")
	}
}

// broken writes a line that is too long as three, at its outermost brackets.
func (m *module) broken(line string) {
	first, last := strings.IndexAny(line, "([{"), strings.LastIndexAny(line, ")]}")
	if first < 0 || len(line) <= m.Room() {
		m.Line("%s", line)
		return
	}
	m.Block(line[:first+1], func() { m.Line("%s", line[first+1:last]) }, line[last:])
}

// assign writes an assignment, broken at the brackets of its value.
func (m *module) assign(before, value string) {
	first := strings.IndexAny(value, "([{")
	if len(before)+len(value) <= m.Room() || first < 0 || first+2 >= len(value) {
		m.Line("%s%s", before, value)
		return
	}
	last := len(value) - 1
	m.Block(before+value[:first+1], func() { m.Line("%s", value[first+1:last]) }, value[last:])
}

// expression is a value, or the choice between two.
type expression struct{ then, when, otherwise string }

// read is the expression of a member of data.
func (m *module) read(f *ir.Field) expression {
	key := quoted(f.Wire)
	there := "data[" + key + "]"
	value := m.decoded(f.Type, there)
	switch {
	case f.Required && !f.Type.Nullable:
		return expression{then: value}
	case f.Type.Nullable && !f.Required:
		if value == there {
			return expression{then: "data.get(" + key + ", UNSET)"}
		}
		return expression{"None if " + there + " is None else " + value, key + " in data", "UNSET"}
	case value == there:
		return expression{then: "data.get(" + key + ")"}
	default:
		return expression{value, "data.get(" + key + ") is not None", "None"}
	}
}

func (m *module) toWire(of *ir.Model) {
	m.Block("def to_wire(self) -> dict[str, Any]:", func() {
		docstring(m.Writer, "The JSON object of the contract, without what is absent or in extra.")
		var required []string
		for _, f := range of.Fields {
			if f.Required {
				required = append(required, quoted(f.Wire)+": "+m.orNull(f))
			}
		}
		m.dict("wire: dict[str, Any] = {", required)
		for _, f := range of.Fields {
			if f.Required {
				continue
			}
			absent := "None"
			if f.Type.Nullable {
				absent = "UNSET"
			}
			m.Line("if self.%s is not %s:", attribute(f), absent)
			m.In(func() { m.assign("wire["+quoted(f.Wire)+"] = ", m.orNull(f)) })
		}
		m.Line("return wire")
	}, "")
}

// dict writes a mapping: in one line if it fits, else an item a line.
func (m *module) dict(before string, items []string) {
	if line := before + join(items) + "}"; len(line) <= m.Room() {
		m.Line("%s", line)
		return
	}
	m.Block(before, func() {
		for _, item := range items {
			m.broken(item + ",")
		}
	}, "}")
}

func (m *module) orNull(f *ir.Field) string {
	self := "self." + attribute(f)
	value := m.encoded(f.Type, self)
	if f.Type.Nullable && value != self {
		return "None if " + self + " is None else " + value
	}
	return value
}

func attribute(f *ir.Field) string { return ir.PythonIdent(f.Name.Snake()) }

func join(items []string) string { return strings.Join(items, ", ") }
