package typescript

import (
	"fmt"
	"strings"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// reference writes api.md.
func reference(api *ir.API) emit.File {
	m := newModule()
	return emit.Reference(api, emit.Language{
		Path:  "sdks/typescript/api.md",
		Title: "TypeScript",
		Code:  "ts",
		Call: func(r *ir.Resource, op *ir.Operation) string {
			w := emit.New("  ")
			w.List(fmt.Sprintf("client.%s.%s(", r.Name.PlainCamel(), op.Verb.PlainCamel()), m.arguments(r, op), "): "+m.returns(op))
			return strings.TrimSuffix(w.String(), "\n")
		},
		Model:  func(of *ir.Model) string { return of.Name },
		Member: func(of *ir.Model, f *ir.Field) (string, string) { return member(f), m.tsType(f.Type, of.Written) },
		Hidden: hidden,
		Enum:   func(e *ir.Enum) string { return e.Name },
		Value:  func(e *ir.Enum, value string) string { return e.Name + "." + valueName(value) },
	})
}
