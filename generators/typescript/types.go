package typescript

import (
	"fmt"
	"strings"

	"github.com/marque-id/marque/generators/ir"
)

// tsType spells a type as it is read, or as a caller gives it, who may give a
// secret as plain text. The members of the wire are the members here, so that a
// timestamp is the string that it is there.
func (m *module) tsType(t *ir.Type, given bool) string {
	spelled := m.plainType(t, given)
	if t.Nullable {
		return spelled + " | null"
	}
	return spelled
}

func (m *module) plainType(t *ir.Type, given bool) string {
	switch t.Kind {
	case ir.String, ir.Timestamp:
		return "string"
	case ir.Secret:
		if given {
			return m.use("../secret.js", "Secret") + " | string"
		}
		return m.use("../secret.js", "Secret")
	case ir.Integer:
		return "number"
	case ir.Boolean:
		return "boolean"
	case ir.EnumOf:
		return t.Enum.Name
	case ir.ModelOf:
		return t.Model.Name
	case ir.List:
		item := m.tsType(t.Elem, given)
		if strings.Contains(item, " | ") {
			return "(" + item + ")[]"
		}
		return item + "[]"
	case ir.Map:
		return "Record<string, " + m.tsType(t.Elem, given) + ">"
	case ir.JSONObject:
		return "Record<string, unknown>"
	}
	panic(fmt.Sprintf("typescript: kind %d has no type", t.Kind))
}
