package python

import (
	"fmt"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// operations writes what the runtime needs to know of each operation.
func operations(api *ir.API) emit.File {
	m := newModule("The operations of the contract.")
	m.use("typing", "Final")
	m.runtime("Operation")
	for _, r := range api.Resources {
		for _, op := range r.Operations {
			args := []string{quoted(op.ID), quoted(op.Method), quoted(op.Path)}
			if op.Auth != ir.AuthBearer {
				args = append(args, "auth="+quoted(auth(op.Auth)))
			}
			if op.Idempotent {
				args = append(args, "idempotent=True")
			}
			if op.Body != nil {
				args = append(args, "content_type="+quoted(op.Body.ContentType))
			}
			if op.OAuth {
				args = append(args, "token_endpoint=True")
			}
			m.call(variable(op)+": Final = Operation(", args, ")")
		}
	}
	return m.file("operations.py")
}

// call writes a call as ruff breaks it: in one line, else its arguments in a line
// of their own, else one in a line. Arguments that end in a comma keep the last
// form, which is the one that we always choose.
func (m *module) call(before string, args []string, after string) { m.List(before, args, after) }

func variable(op *ir.Operation) string { return ir.ParseName(op.ID).Screaming() }

func auth(a ir.Auth) string {
	switch a {
	case ir.AuthBearer:
		return "bearer"
	case ir.AuthClient:
		return "client"
	case ir.AuthNone:
		return "none"
	}
	panic(fmt.Sprintf("python: there is no word for auth %d", a))
}
