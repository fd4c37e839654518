package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const contract = "../openapi.yaml"

func TestTheGeneratedCodeIsWhatTheContractGives(t *testing.T) {
	t.Parallel()
	if err := run(contract, "..", "", true); err != nil {
		t.Error(err)
	}
}

// The maps of Go are ranged over in another order each time: what depended on it
// would differ between two of these.
func TestGeneratingAgainGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	var first []byte
	for range 5 {
		api, err := load(contract)
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, l := range languages {
			files, err := l.emit(api)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				all = append(append(all, file.Path...), file.Data...)
			}
		}
		if first == nil {
			first = all
		}
		if !bytes.Equal(first, all) {
			t.Fatal("the same contract gave other bytes")
		}
	}
}

func TestTheSameContractHasTheSameFindingsEachTime(t *testing.T) {
	t.Parallel()
	const spec = "testdata/refuse/everything_at_once.yaml"
	_, first := load(spec)
	for range 5 {
		if _, again := load(spec); again.Error() != first.Error() {
			t.Fatalf("first:\n%v\nthen:\n%v", first, again)
		}
	}
}

func TestCheckListsWhatDiffersAndWritesNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const spec = "testdata/accept/minimal.yaml"
	if err := run(spec, root, "", false); err != nil {
		t.Fatal(err)
	}
	if err := run(spec, root, "", true); err != nil {
		t.Fatalf("right after generating: %v", err)
	}
	changed, missing, stale := "sdks/go/models.gen.go", "sdks/python/src/marque/_generated/enums.py", "sdks/typescript/src/generated/old.ts"
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(changed, "package marque\n")
	write(stale, "export {};\n")
	if err := os.Remove(filepath.Join(root, missing)); err != nil {
		t.Fatal(err)
	}
	err := run(spec, root, "", true)
	if err == nil {
		t.Fatal("nothing was found")
	}
	for _, path := range []string{changed, missing, stale} {
		if strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s is not named once in: %v", path, err)
		}
	}
	if text, _ := os.ReadFile(filepath.Join(root, changed)); string(text) != "package marque\n" {
		t.Error("-check wrote a file")
	}
	if err := run(spec, root, "go", true); err == nil || strings.Contains(err.Error(), "sdks/python") {
		t.Errorf("-lang go looked elsewhere, or not at all: %v", err)
	}
	if err := run(spec, root, "", false); err != nil {
		t.Fatal(err)
	}
	if err := run(spec, root, "", true); err != nil {
		t.Errorf("after generating anew: %v", err)
	}
}

func TestFilesBesideTheGeneratedOnesAreLeftAlone(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	byHand := filepath.Join(root, "sdks/go/client.go")
	if err := os.MkdirAll(filepath.Dir(byHand), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(byHand, []byte("package marque\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run("testdata/accept/minimal.yaml", root, "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(byHand); err != nil {
		t.Error(err)
	}
}

func TestALanguageWithoutAnEmitterIsAnError(t *testing.T) {
	t.Parallel()
	if err := run(contract, t.TempDir(), "cobol", false); err == nil || !strings.Contains(err.Error(), "cobol") {
		t.Errorf("it was taken: %v", err)
	}
}

func TestNothingIsWrittenOfAContractThatIsRefused(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := run("testdata/refuse/number.yaml", root, "", false); err == nil {
		t.Fatal("it was taken")
	}
	if left, _ := os.ReadDir(root); len(left) != 0 {
		t.Errorf("there is %v", left)
	}
}
