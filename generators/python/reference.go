package python

import (
	"fmt"
	"strings"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// reference writes api.md.
func reference(api *ir.API) emit.File {
	m := newModule("")
	return emit.Reference(api, emit.Language{
		Path:  "sdks/python/api.md",
		Title: "Python",
		Code:  "python",
		Call: func(r *ir.Resource, op *ir.Operation) string {
			w := emit.New("    ")
			w.List(fmt.Sprintf("client.%s.%s(", r.Name.Snake(), op.Verb.Snake()), m.signature(op)[1:], ") -> "+m.returns(op, blocking))
			return strings.TrimSuffix(w.String(), "\n")
		},
		Model:  func(of *ir.Model) string { return of.Name },
		Member: func(_ *ir.Model, f *ir.Field) (string, string) { return attribute(f), m.fieldType(f) },
		Hidden: hidden,
		Enum:   func(e *ir.Enum) string { return e.Name },
		Value:  func(e *ir.Enum, value string) string { return e.Name + "." + constant(value) },
	})
}

func multiline(s string) bool { return strings.Contains(s, "\n") }
