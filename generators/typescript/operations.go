package typescript

import (
	"fmt"
	"slices"
	"strings"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// operations writes what the runtime needs to know of each operation.
func operations(api *ir.API) (emit.File, error) {
	m := newModule()
	m.use("../operation.js", "Operation")
	for _, r := range api.Resources {
		for _, op := range r.Operations {
			hidden, err := secrets(op)
			if err != nil {
				return emit.File{}, err
			}
			m.Line("")
			m.operation(op, hidden)
		}
	}
	return m.file("operations.ts"), nil
}

func (m *module) operation(op *ir.Operation, hidden []string) {
	m.Block(fmt.Sprintf("export const %s = {", constant(op)), func() {
		m.Line("id: %q,", op.ID)
		m.Line("method: %q,", op.Method)
		m.Line("path: %q,", op.Path)
		m.Line("auth: %q,", auth(op.Auth))
		m.Line("idempotent: %t,", op.Idempotent)
		if op.Body != nil {
			m.Line("contentType: %q,", op.Body.ContentType)
		}
		if op.OAuth {
			m.Line("oauth: true,")
		}
		if len(hidden) > 0 {
			m.List("secrets: [", hidden, "],")
		}
	}, "} as const satisfies Operation;")
}

func constant(op *ir.Operation) string { return ir.ParseName(op.ID).PlainCamel() }

func auth(a ir.Auth) string {
	switch a {
	case ir.AuthBearer:
		return "bearer"
	case ir.AuthClient:
		return "client"
	case ir.AuthNone:
		return "none"
	}
	panic(fmt.Sprintf("typescript: there is no word for auth %d", a))
}

// secrets lists where the answer of an operation holds secrets: names of members
// joined by dots, with * for each item of a list.
func secrets(op *ir.Operation) (paths []string, err error) {
	var walk func(t *ir.Type, path []string, within []*ir.Model)
	walk = func(t *ir.Type, path []string, within []*ir.Model) {
		switch {
		case t == nil:
		case t.Kind == ir.Secret && slices.Contains(path, ""):
			err = fmt.Errorf("%s: the TypeScript SDK cannot hide a secret in a map", op.ID)
		case t.Kind == ir.Secret:
			paths = append(paths, fmt.Sprintf("%q", strings.Join(path, ".")))
		case t.Kind == ir.List:
			walk(t.Elem, append(slices.Clone(path), "*"), within)
		case t.Kind == ir.Map:
			walk(t.Elem, append(slices.Clone(path), ""), within)
		case t.Kind == ir.ModelOf && !slices.Contains(within, t.Model):
			for _, f := range t.Model.Fields {
				walk(f.Type, append(slices.Clone(path), f.Wire), append(slices.Clone(within), t.Model))
			}
		}
	}
	walk(op.Result, nil, nil)
	walk(op.Page, []string{"items", "*"}, nil)
	walk(op.Stream, nil, nil)
	return paths, err
}
