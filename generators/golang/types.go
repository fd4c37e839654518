package golang

import (
	"fmt"

	"github.com/marque-id/marque/generators/ir"
)

// goType spells a type that is there, whether or not it may be null or absent.
func goType(t *ir.Type) string {
	switch t.Kind {
	case ir.String:
		return "string"
	case ir.Secret:
		return "Secret"
	case ir.Integer:
		if t.Bits == 64 {
			return "int64"
		}
		return "int"
	case ir.Boolean:
		return "bool"
	case ir.Timestamp:
		return "time.Time"
	case ir.EnumOf:
		return name(t.Enum.Name)
	case ir.ModelOf:
		return name(t.Model.Name)
	case ir.List:
		return "[]" + goType(t.Elem)
	case ir.Map:
		if t.Elem.Nullable {
			return "map[string]*" + goType(t.Elem)
		}
		return "map[string]" + goType(t.Elem)
	case ir.JSONObject:
		return "json.RawMessage"
	}
	panic(fmt.Sprintf("golang: kind %d has no type", t.Kind))
}

// fieldType spells the type of a member. What is absent is told from what is
// zero: by a nil pointer, slice or map, and where null means something else than
// absent, by Opt.
func fieldType(f *ir.Field) string {
	t := goType(f.Type)
	switch {
	case f.Type.Nullable:
		return "Opt[" + t + "]"
	case f.Required || nilable(f.Type):
		return t
	default:
		return "*" + t
	}
}

// paramType spells the type of a query parameter or a member of a form, which is
// not sent when it has its zero value.
func paramType(t *ir.Type, unset bool) string {
	if unset {
		return goType(t)
	}
	return "*" + goType(t)
}

// nilable tells whether a type has a nil that can stand for absent.
func nilable(t *ir.Type) bool {
	return t.Kind == ir.List || t.Kind == ir.Map || t.Kind == ir.JSONObject
}

// imported lists the packages that types mention, in the order of the alphabet.
func imported(types ...*ir.Type) []string {
	var usesJSON, usesTime bool
	for _, t := range types {
		for ; t != nil; t = t.Elem {
			usesJSON = usesJSON || t.Kind == ir.JSONObject
			usesTime = usesTime || t.Kind == ir.Timestamp
		}
	}
	var paths []string
	if usesJSON {
		paths = append(paths, "encoding/json")
	}
	if usesTime {
		paths = append(paths, "time")
	}
	return paths
}

// name spells a name of the contract as an exported name of Go.
func name(s string) string { return ir.ParseName(s).Pascal() }
