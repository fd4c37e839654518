// Package gate holds the suite itself to its promises: that every operation and
// every error is tried with every SDK, that what is known to fail still fails,
// and that broken SDKs are caught.
package gate

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/marque-id/marque/conformance/runner/cases"
)

// Declared is known-failing/<sdk>.txt: a line says "fails CASE -- why" of a case
// that fails for now, or "cannot CASE -- why" of one that the SDK answers with
// unsupported. A case of every suite may end in *, which stands for the rest.
type Declared struct {
	file  string
	lines []*declaration
}

type declaration struct {
	verb, name, why string
	used            bool
}

// ReadDeclared reads the file; a missing one declares nothing.
func ReadDeclared(file string) (*Declared, error) {
	d := &Declared{file: file}
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rest, why, found := strings.Cut(line, " -- ")
		verb, name, named := strings.Cut(strings.TrimSpace(rest), " ")
		if !found || !named || (verb != "fails" && verb != "cannot") {
			return nil, fmt.Errorf("%s:%d: a line is `fails CASE -- why` or `cannot CASE -- why`", file, n)
		}
		d.lines = append(d.lines, &declaration{verb: verb, name: strings.TrimSpace(name), why: why})
	}
	return d, lines.Err()
}

func (d *Declared) find(verb string, c *cases.Case) *declaration {
	for _, line := range d.lines {
		prefix, open := strings.CutSuffix(line.name, "*")
		if line.verb == verb && (line.name == c.ID() || open && strings.HasPrefix(c.ID(), prefix)) {
			return line
		}
	}
	return nil
}

// Fails tells why a case that failed was known to; the line is in use then.
func (d *Declared) Fails(c *cases.Case) (string, bool) { return d.use("fails", c) }

// Cannot tells why a case that is unsupported may be.
func (d *Declared) Cannot(c *cases.Case) (string, bool) { return d.use("cannot", c) }

func (d *Declared) use(verb string, c *cases.Case) (string, bool) {
	line := d.find(verb, c)
	if line == nil {
		return "", false
	}
	line.used = true
	return line.why, true
}

// Stale are the lines that nothing needed.
func (d *Declared) Stale() []string {
	var all []string
	for _, line := range d.lines {
		if !line.used {
			all = append(all, fmt.Sprintf("%s: `%s %s` is stale: remove the line", d.file, line.verb, line.name))
		}
	}
	return all
}
