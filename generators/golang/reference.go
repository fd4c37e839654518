package golang

import (
	"fmt"
	"strings"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// reference writes api.md.
func reference(api *ir.API) emit.File {
	return emit.Reference(api, emit.Language{
		Path:  folder + "api.md",
		Title: "Go",
		Code:  "go",
		Call: func(r *ir.Resource, op *ir.Operation) string {
			result := ""
			switch {
			case op.Page != nil:
				result = fmt.Sprintf("iter.Seq2[marque.%s, error]", goType(op.Page))
			case op.Result != nil:
				result = fmt.Sprintf("(*marque.%s, error)", goType(op.Result))
			default:
				result = "error"
			}
			args := arguments(r, op)
			for i, arg := range args {
				args[i] = qualify(arg)
			}
			return fmt.Sprintf("client.%s.%s(%s) %s", r.Name.Pascal(), op.Verb.Pascal(), strings.Join(args, ", "), result)
		},
		Model:  func(m *ir.Model) string { return name(m.Name) },
		Member: func(m *ir.Model, f *ir.Field) (string, string) { return f.Name.Pascal(), fieldType(f) },
		Hidden: func(m *ir.Model) bool { return m.Failure },
		Enum:   func(e *ir.Enum) string { return name(e.Name) },
		Value:  func(e *ir.Enum, value string) string { return name(e.Name) + name(value) },
	})
}

// qualify writes an argument as it looks from outside the package.
func qualify(arg string) string {
	ident, of, _ := strings.Cut(arg, " ")
	lead := of[:len(of)-len(strings.TrimLeft(of, "*."))]
	if rest := of[len(lead):]; rest[0] >= 'A' && rest[0] <= 'Z' {
		return ident + " " + lead + "marque." + rest
	}
	return arg
}
