package config

import "strings"

// Docs is the reference of all keys, as Markdown.
func Docs() string {
	return `# Configuration of Marque

Each key stands in the YAML file under this name (dots are levels), or in the
environment. A flag beats the environment, which beats the file (` + "`--config`" + ` or
` + "`" + ConfigFileVariable + "`" + `), which beats the default. An unknown key is an error.

` + Table()
}

// Table is the table of that reference.
func Table() string {
	var b strings.Builder
	b.WriteString("| key | environment | default | |\n|---|---|---|---|\n")
	for _, k := range Keys() {
		b.WriteString("| ")
		if !k.secret { // which cannot stand in the file
			b.WriteString("`" + k.Name + "` ")
		}
		b.WriteString("| `" + k.Env() + "` | ")
		if k.Default == "" {
			b.WriteString("none")
		}
		b.WriteString(k.Default)
		if k.Dev != "" {
			b.WriteString("; with `--dev` " + k.Dev)
		}
		b.WriteString(" | " + k.Doc + " |\n")
	}
	return b.String()
}
