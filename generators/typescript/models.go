package typescript

import (
	"fmt"
	"regexp"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// models writes an interface for each model, with the names of the wire, and the
// enumerations.
func models(api *ir.API) emit.File {
	m := newModule()
	for _, of := range api.Models {
		if !hidden(of) {
			m.model(of)
		}
	}
	for _, e := range api.Enums {
		m.enum(e)
	}
	return m.file("models.ts")
}

// hidden tells which models TypeScript does without: ApiError, by hand, has what
// they have.
func hidden(m *ir.Model) bool { return m.Failure }

func (m *module) model(of *ir.Model) {
	m.Line("")
	comment(m.Writer, emit.Sentence(of.Doc))
	m.Block(fmt.Sprintf("export interface %s {", of.Name), func() {
		for _, f := range of.Fields {
			comment(m.Writer, emit.Sentence(f.Doc))
			m.Line("%s: %s;", member(f), m.tsType(f.Type, of.Written))
		}
	}, "}")
}

// member is the name of a member, as the wire has it, and whether it may be absent.
func member(f *ir.Field) string {
	if f.Required {
		return key(f.Wire)
	}
	return key(f.Wire) + "?"
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// key is a name of the wire as the name of a property.
func key(wire string) string {
	if identifier.MatchString(wire) {
		return wire
	}
	return fmt.Sprintf("%q", wire)
}

// enum writes an open enumeration: a type that completes the known values and
// takes any string, and an object that names them.
func (m *module) enum(e *ir.Enum) {
	m.Line("")
	comment(m.Writer, emit.Sentence(e.Doc)+" Open: other values may come.")
	values := ""
	for _, value := range e.Values {
		values += fmt.Sprintf("%q | ", value)
	}
	line := fmt.Sprintf("export type %s = %s(string & {});", e.Name, values)
	if len(line) <= emit.Width {
		m.Line("%s", line)
	} else {
		m.Line("export type %s =", e.Name)
		m.In(func() {
			for _, value := range e.Values {
				m.Line("| %q", value)
			}
			m.Line("| (string & {});")
		})
	}
	m.Line("")
	comment(m.Writer, "The known values of "+e.Name+".")
	m.Block(fmt.Sprintf("export const %s = {", e.Name), func() {
		for _, value := range e.Values {
			m.Line("%s: %q,", valueName(value), value)
		}
	}, "} as const;")
}

var oneWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)

// valueName is the name of a known value: itself, if it is one word.
func valueName(value string) string {
	if oneWord.MatchString(value) {
		return value
	}
	return ir.ParseName(value).PlainCamel()
}

func errorCodes(api *ir.API) emit.File {
	m := newModule()
	if api.ErrorCodes == nil {
		m.Line("export {};")
	} else {
		m.enum(api.ErrorCodes)
	}
	return m.file("errors.ts")
}
