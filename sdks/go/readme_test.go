package marque

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The examples are run against a server; the README shows nothing else.
func TestTheREADMEShowsWhatTheExamplesRun(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("examples/*/main.go")
	if err != nil || len(sources) == 0 {
		t.Fatal(sources, err)
	}
	var code strings.Builder
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		code.WriteString(withoutIndent(string(text)))
	}
	blocks := strings.Split(string(readme), "```go\n")[1:]
	if len(blocks) < 5 {
		t.Errorf("%d blocks of Go", len(blocks))
	}
	for _, block := range blocks {
		block, _, _ = strings.Cut(block, "```")
		if strings.HasPrefix(block, "import ") {
			continue
		}
		if !strings.Contains(code.String(), withoutIndent(block)) {
			t.Errorf("no example has this block:\n%s", block)
		}
	}
}

func withoutIndent(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimLeft(line, "\t"))
	}
	return out.String()
}
