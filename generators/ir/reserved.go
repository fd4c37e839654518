package ir

import "slices"

// Reserved words of each language, which a name must step aside from. They
// stand together so that a new language sees what the others do.
var (
	goReserved = []string{
		"break", "case", "chan", "const", "continue", "default", "defer", "else", "fallthrough", "for",
		"func", "go", "goto", "if", "import", "interface", "map", "package", "range", "return", "select",
		"struct", "switch", "type", "var",
		// Names that generated functions use themselves.
		"body", "ctx", "opts", "params", "r",
	}
	pythonReserved = []string{
		"and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else",
		"except", "false", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "none",
		"nonlocal", "not", "or", "pass", "raise", "return", "true", "try", "while", "with", "yield",
		// Names that generated methods use themselves.
		"extra", "from_wire", "options", "self", "to_wire",
	}
	// Keywords of every generated method.
	pythonOptions = []string{"headers", "idempotency_key", "retries", "timeout"}

	typescriptReserved = []string{
		"arguments", "await", "break", "case", "catch", "class", "const", "continue", "debugger", "default",
		"delete", "do", "else", "enum", "eval", "export", "extends", "false", "finally", "for", "function",
		"if", "implements", "import", "in", "instanceof", "interface", "let", "new", "null", "package",
		"private", "protected", "public", "return", "static", "super", "switch", "this", "throw", "true",
		"try", "typeof", "var", "void", "while", "with", "yield",
		// Names that generated methods use themselves.
		"body", "options", "params",
	}
)

// GoIdent gives a spelling that Go takes for a variable.
func GoIdent(s string) string { return aside(goReserved, s) }

// PythonIdent gives a spelling that Python takes for a variable or an attribute.
func PythonIdent(s string) string { return aside(pythonReserved, s) }

// PythonArgument gives a spelling that a generated method can take as a keyword.
func PythonArgument(s string) string { return aside(pythonOptions, PythonIdent(s)) }

// TypeScriptIdent gives a spelling that TypeScript takes for a variable.
func TypeScriptIdent(s string) string { return aside(typescriptReserved, s) }

func aside(reserved []string, s string) string {
	if slices.Contains(reserved, s) {
		return s + "_"
	}
	return s
}
