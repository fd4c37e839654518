package golang

import (
	"fmt"
	"slices"
	"strings"

	"github.com/marque-id/marque/generators/ir"
)

// operations writes what the runtime needs to know of each operation.
func operations(api *ir.API) *body {
	w := newBody()
	w.imports = []string{"net/http"}
	w.Block("var (", func() {
		for _, r := range api.Resources {
			for _, op := range r.Operations {
				operation(w, op)
			}
		}
	}, ")")
	return w
}

func operation(w *body, op *ir.Operation) {
	w.Block(fmt.Sprintf("%s = &operation{", variable(op)), func() {
		w.Line("id: %q,", op.ID)
		w.Line("method: http.Method%s,", strings.ToUpper(op.Method[:1])+strings.ToLower(op.Method[1:]))
		w.Line("path: %q,", op.Path)
		w.Line("auth: %s,", auth(op.Auth))
		if op.Idempotent {
			w.Line("idempotent: true,")
		}
		if op.Body != nil {
			w.Line("contentType: %s,", contentType(op.Body.ContentType))
		}
		if op.OAuth {
			w.Line("oauth: true,")
		}
	}, "}")
}

func variable(op *ir.Operation) string { return "op" + ir.ParseName(op.ID).Pascal() }

func auth(a ir.Auth) string {
	switch a {
	case ir.AuthBearer:
		return "authBearer"
	case ir.AuthClient:
		return "authClient"
	case ir.AuthNone:
		return "authNone"
	}
	panic(fmt.Sprintf("golang: there is no word for auth %d", a))
}

func contentType(s string) string {
	switch s {
	case "application/json":
		return "contentJSON"
	case "application/merge-patch+json":
		return "contentMergePatch"
	case "application/x-www-form-urlencoded":
		return "contentForm"
	}
	panic("golang: there is no word for content type " + s)
}

// insert adds a path to sorted imports.
func insert(imports []string, path string) []string {
	imports = append(imports, path)
	slices.Sort(imports)
	return slices.Compact(imports)
}
