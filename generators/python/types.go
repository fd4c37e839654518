package python

import (
	"fmt"

	"github.com/marque-id/marque/generators/ir"
)

// pyType spells a type as it is read (given is false) or as a caller gives it,
// who may give any sequence and a secret as plain text. What may be null, and
// only that, is None.
func (m *module) pyType(t *ir.Type, given bool) string {
	spelled := m.plainType(t, given)
	if t.Nullable {
		return spelled + " | None"
	}
	return spelled
}

func (m *module) plainType(t *ir.Type, given bool) string {
	switch t.Kind {
	case ir.String, ir.EnumOf:
		return "str"
	case ir.Secret:
		if given {
			return m.runtime("Secret") + " | str"
		}
		return m.runtime("Secret")
	case ir.Integer:
		return "int"
	case ir.Boolean:
		return "bool"
	case ir.Timestamp:
		return m.use("datetime", "datetime")
	case ir.ModelOf:
		return m.modelName(t.Model)
	case ir.List:
		if given {
			return m.use("collections.abc", "Sequence") + "[" + m.pyType(t.Elem, given) + "]"
		}
		return "tuple[" + m.pyType(t.Elem, given) + ", ...]"
	case ir.Map:
		return m.use("collections.abc", "Mapping") + "[str, " + m.pyType(t.Elem, given) + "]"
	case ir.JSONObject:
		return m.use("collections.abc", "Mapping") + "[str, " + m.runtime("JSON") + "]"
	}
	panic(fmt.Sprintf("python: kind %d has no type", t.Kind))
}

// modelName is the name of a model, imported where it is not declared.
func (m *module) modelName(of *ir.Model) string {
	if m.doc != modelsDoc {
		m.use("marque._generated.models", of.Name)
	}
	return of.Name
}

// decoded is the expression that makes a value of what was read.
func (m *module) decoded(t *ir.Type, wire string) string {
	switch t.Kind {
	case ir.Secret:
		return m.runtime("Secret") + "(" + wire + ")"
	case ir.Timestamp:
		return m.runtime("parse_time") + "(" + wire + ")"
	case ir.ModelOf:
		return t.Model.Name + ".from_wire(" + wire + ")"
	case ir.List:
		if direct(t.Elem) {
			return "tuple(" + wire + ")"
		}
		return "tuple(" + m.decoded(t.Elem, "item") + " for item in " + wire + ")"
	case ir.Map:
		if direct(t.Elem) {
			return wire
		}
		return "{key: " + m.decoded(t.Elem, "item") + " for key, item in " + wire + ".items()}"
	case ir.String, ir.EnumOf, ir.Integer, ir.Boolean, ir.JSONObject:
		return wire
	}
	panic(fmt.Sprintf("python: kind %d cannot be read", t.Kind))
}

// encoded is the expression that makes what is sent of a value. A secret stays
// one until the runtime sends it.
func (m *module) encoded(t *ir.Type, value string) string {
	switch t.Kind {
	case ir.Timestamp:
		return m.runtime("format_time") + "(" + value + ")"
	case ir.ModelOf:
		return value + ".to_wire()"
	case ir.List:
		if direct(t.Elem) {
			return "[*" + value + "]"
		}
		return "[" + m.encoded(t.Elem, "item") + " for item in " + value + "]"
	case ir.Map:
		if direct(t.Elem) {
			return "{**" + value + "}"
		}
		return "{key: " + m.encoded(t.Elem, "item") + " for key, item in " + value + ".items()}"
	case ir.String, ir.EnumOf, ir.Secret, ir.Integer, ir.Boolean, ir.JSONObject:
		return value
	}
	panic(fmt.Sprintf("python: kind %d cannot be sent", t.Kind))
}

// direct tells whether JSON's own value is the value.
func direct(t *ir.Type) bool {
	switch t.Kind {
	case ir.String, ir.EnumOf, ir.Integer, ir.Boolean, ir.JSONObject:
		return true
	default:
		return false
	}
}
