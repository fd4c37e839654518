package golang

import (
	"fmt"
	"slices"
	"strings"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

func models(api *ir.API) *body {
	w := newBody()
	forms := forms(api)
	var types []*ir.Type
	for _, m := range api.Models {
		if m.Failure {
			continue // Error, by hand, holds what these do
		}
		model(w, m, forms[m])
		for _, f := range m.Fields {
			types = append(types, f.Type)
		}
	}
	for _, e := range api.Enums {
		enum(w, e)
	}
	w.imports = imported(types...)
	if len(forms) > 0 {
		w.imports = insert(w.imports, "net/url")
	}
	return w
}

func model(w *body, m *ir.Model, form bool) {
	definition(w, m.Name, m.Doc)
	w.Block(fmt.Sprintf("type %s struct {", name(m.Name)), func() {
		for _, f := range m.Fields {
			w.Comment("//", f.Doc)
			if form {
				w.Line("%s %s", f.Name.Pascal(), paramType(f.Type, f.Required || zeroAbsent(f.Type)))
				continue
			}
			w.Line("%s %s %s", f.Name.Pascal(), fieldType(f), tag(f))
		}
	}, "}")
	w.Line("")
	if form {
		w.Line("// form encodes what is set.")
		w.Block(fmt.Sprintf("func (b %s) form() url.Values {", name(m.Name)), func() {
			w.Line("values := url.Values{}")
			for _, f := range m.Fields {
				w.Line("setParam(values, %q, b.%s)", f.Wire, f.Name.Pascal())
			}
			w.Line("return values")
		}, "}")
		w.Line("")
		return
	}
	if m.Written && holdsSecret(m) {
		wire(w, m)
	}
}

func holdsSecret(m *ir.Model) bool {
	return slices.ContainsFunc(m.Fields, func(f *ir.Field) bool { return f.Type.Kind == ir.Secret })
}

// wire writes what is sent of a body with secrets: the same members, their texts
// revealed. The body itself stays masked wherever else it is encoded.
func wire(w *body, m *ir.Model) {
	w.Line("// wire is what is sent: with the secrets, which encoding/json masks elsewhere.")
	w.Block(fmt.Sprintf("func (b %s) wire() any {", name(m.Name)), func() {
		w.Block("return struct {", func() {
			for _, f := range m.Fields {
				of := fieldType(f)
				if f.Type.Kind == ir.Secret {
					of = strings.TrimSuffix(of, "Secret") + "string" // *Secret, where it may be absent
				}
				w.Line("%s %s %s", f.Name.Pascal(), of, tag(f))
			}
		}, "}{")
		w.In(func() {
			for _, f := range m.Fields {
				value := "b." + f.Name.Pascal()
				switch {
				case f.Type.Kind != ir.Secret:
				case f.Required:
					value += ".Reveal()"
				default:
					value = "(*string)(" + value + ")"
				}
				w.Line("%s,", value)
			}
		})
		w.Line("}")
	}, "}")
	w.Line("")
}

// tag is the name of a member in JSON, left out where it has its zero value and
// need not be there.
func tag(f *ir.Field) string {
	if f.Required {
		return fmt.Sprintf("`json:%q`", f.Wire)
	}
	return fmt.Sprintf("`json:%q`", f.Wire+",omitzero")
}

func enum(w *body, e *ir.Enum) {
	definition(w, e.Name, e.Doc)
	w.Line("//")
	w.Comment("//", "It is open: a value that this release does not know is kept as it is.")
	w.Line("type %s string", name(e.Name))
	w.Line("")
	w.Comment("//", fmt.Sprintf("The known values of %s.", name(e.Name)))
	w.Block("const (", func() {
		for _, value := range e.Values {
			w.Line("%s%s %s = %q", name(e.Name), name(value), name(e.Name), value)
		}
	}, ")")
	w.Line("")
}

func errorCodes(api *ir.API) *body {
	w := newBody()
	if api.ErrorCodes != nil {
		enum(w, api.ErrorCodes)
	}
	return w
}

// zeroAbsent tells whether the zero value of a member of a form can stand for
// absent: at the OAuth endpoints an empty parameter counts as absent (RFC 6749
// section 3.1).
func zeroAbsent(t *ir.Type) bool { return t.Kind != ir.Boolean && t.Kind != ir.Integer }

// definition writes a description as Go has it: the name is what the description
// says.
func definition(w *body, of, doc string) {
	if doc == "" {
		return
	}
	w.Comment("//", name(of)+" is "+emit.Lower(emit.Sentence(doc)))
}

// forms tells which models are sent as forms.
func forms(api *ir.API) map[*ir.Model]bool {
	all := make(map[*ir.Model]bool)
	for _, r := range api.Resources {
		for _, op := range r.Operations {
			if op.Body != nil && op.Body.Form() {
				all[op.Body.Model] = true
			}
		}
	}
	return all
}
