package python

import (
	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// enums writes the known values of the enumerations as constants.
func enums(api *ir.API) emit.File {
	m := newModule("Known values. Each enumeration is open: any other string is legal, too.")
	for _, e := range api.Enums {
		m.enum(e)
	}
	return m.file("enums.py")
}

func errorCodes(api *ir.API) emit.File {
	m := newModule("The codes of errors. Others may come: a code is a string.")
	if api.ErrorCodes == nil {
		return m.file("errors.py")
	}
	m.enum(api.ErrorCodes)
	m.Line("")
	m.Line("")
	var codes []string
	for _, value := range api.ErrorCodes.Values {
		codes = append(codes, "ErrorCode."+constant(value))
	}
	m.frozenset("KNOWN_CODES", codes)
	return m.file("errors.py")
}

func (m *module) enum(e *ir.Enum) {
	m.use("typing", "Final")
	m.Line("")
	m.Line("")
	m.Line("class %s:", e.Name)
	m.In(func() {
		docstring(m.Writer, emit.Sentence(e.Doc))
		m.Line("")
		for _, value := range e.Values {
			m.Line("%s: Final = %s", constant(value), quoted(value))
		}
	})
}
