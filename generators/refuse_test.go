package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/marque-id/marque/generators/ir"
)

// Each contract in testdata/refuse says in its first lines what it wants to be
// told, with the place: all of it, and nothing else.
func TestAContractIsRefusedWithEveryFindingAndItsPlace(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/refuse/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("there is nothing in testdata/refuse", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var wants []string
			for line := range strings.Lines(string(text)) {
				if want, ok := strings.CutPrefix(line, "# wants "); ok {
					wants = append(wants, filepath.Base(file)+":"+strings.TrimSpace(want))
				}
			}
			_, err = load(file)
			var findings ir.Findings
			if !errors.As(err, &findings) {
				t.Fatalf("it was not refused with findings: %v", err)
			}
			for _, finding := range findings {
				i := slices.IndexFunc(wants, func(want string) bool { return strings.HasPrefix(finding.String(), want) })
				if i < 0 {
					t.Errorf("nobody wants to be told: %s", finding)
					continue
				}
				wants = slices.Delete(wants, i, i+1)
			}
			for _, want := range wants {
				t.Errorf("it was not said: %s", want)
			}
		})
	}
}

func TestAFileThatIsNoContractIsAnError(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no YAML":               "a: [",
		"no paths":              "openapi: 3.0.3\ninfo: {title: t, version: '1'}\n",
		"a reference to nobody": "openapi: 3.0.3\ninfo: {title: t, version: '1'}\npaths: {/x: {$ref: '#/nobody'}}\n",
	} {
		if _, err := parse("openapi.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "openapi.yaml") {
			t.Errorf("%s: it was read, or the error does not name the file: %v", name, err)
		}
	}
}
