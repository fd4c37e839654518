package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readFile flattens the YAML file to dotted names. Whatever is not a known key
// with a plain value is a problem that names its line.
func readFile(path string, keys []Key) (map[string]value, []string) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, []string{"configuration file: " + err.Error()}
	}
	f := file{path: path, keys: keys, values: map[string]value{}}

	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return f.values, nil // an empty file sets nothing
	case err != nil:
		return nil, []string{fmt.Sprintf("%s: %s", path, strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, []string{path + ": there is more than one YAML document in it"}
	}
	if len(document.Content) != 0 && document.Content[0].Tag != "!!null" {
		f.walk("", document.Content[0])
	}
	return f.values, f.problems
}

type file struct {
	path     string
	keys     []Key
	values   map[string]value
	problems []string
}

func (f *file) problem(line int, format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf("%s:%d: %s", f.path, line, fmt.Sprintf(format, args...)))
}

func (f *file) walk(prefix string, node *yaml.Node) {
	if node.Kind != yaml.MappingNode {
		f.problem(node.Line, "%s must hold keys and their values", orTop(prefix))
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, content := node.Content[i], node.Content[i+1]
		full := name.Value
		if prefix != "" {
			full = prefix + "." + name.Value
		}
		switch key, known := f.find(full); {
		case known:
			f.take(key, name.Line, content)
		case f.isSection(full):
			f.walk(full, content)
		default:
			f.problem(name.Line, "unknown key %s%s", full, f.suggest(full))
		}
	}
}

// take accepts one value. A secret is refused here: this file tends to be
// copied, mailed and committed.
func (f *file) take(k Key, line int, content *yaml.Node) {
	if content.Kind != yaml.ScalarNode || content.Tag == "!!null" {
		f.problem(content.Line, "%s must be one plain value", k.Name)
		return
	}
	if _, twice := f.values[k.Name]; twice {
		f.problem(line, "%s is set twice", k.Name)
		return
	}
	if k.secret {
		f.problem(line, "%s is a secret and may not stand in this file: give %s_file, or %s in the environment", k.Name, k.Name, k.Env())
		return
	}
	if k.Name == "database.url" && urlPassword(content.Value) {
		f.problem(line, "database.url carries a password, which may not stand in this file: give database.password_file, or %s in the environment", k.Env())
		return
	}
	f.values[k.Name] = value{content.Value, fmt.Sprintf("%s:%d", f.path, line)}
}

func (f *file) find(name string) (Key, bool) {
	for _, k := range f.keys {
		if k.Name == name {
			return k, true
		}
	}
	return Key{}, false
}

func (f *file) isSection(name string) bool {
	for _, k := range f.keys {
		if strings.HasPrefix(k.Name, name+".") {
			return true
		}
	}
	return false
}

// suggest names the known key that is nearest to a mistyped one.
func (f *file) suggest(name string) string {
	best, bestDistance := "", 4
	for _, k := range f.keys {
		if d := distance(name, k.Name); d < bestDistance {
			best, bestDistance = k.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of letters to insert, delete or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func orTop(prefix string) string {
	if prefix == "" {
		return "the file"
	}
	return prefix
}
