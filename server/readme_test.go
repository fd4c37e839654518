package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheCommandsOfTheReadmeWork runs the quickstart as a reader would paste it,
// against a server whose data is in .marque. Lines "# prints …" say what the
// block must have printed.
func TestTheCommandsOfTheReadmeWork(t *testing.T) {
	t.Parallel()
	blocks := quickstart(t)
	dir := t.TempDir()
	s := startDev(t, filepath.Join(dir, ".marque"))
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "bin", "marque")); err != nil {
		t.Fatal(err)
	}

	var script strings.Builder
	for n, block := range blocks {
		fmt.Fprintf(&script, "%s\necho; echo %s\n", block, boundary(n))
	}
	c := exec.Command("sh", "-eu")
	c.Dir = dir
	c.Env = []string{asMarque + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	c.Stdin = strings.NewReader(strings.Replace(script.String(), "https://localhost:8443", s.profile.Issuer, 1))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}

	rest := string(out)
	for n, block := range blocks {
		printed, after, found := strings.Cut(rest, boundary(n))
		if !found {
			t.Fatalf("this block was not run to its end:\n%s\nIt printed:\n%s", block, rest)
		}
		rest = after
		for line := range strings.Lines(block) {
			want, ok := strings.CutPrefix(strings.TrimSpace(line), "# prints ")
			if ok && !strings.Contains(printed, want) {
				t.Errorf("this block does not print %s:\n%s\nIt printed:\n%s", want, block, printed)
			}
		}
	}
}

func boundary(n int) string { return fmt.Sprintf("---- end of block %d ----", n) }

// quickstart is the shell code of the README's quickstart, block by block.
func quickstart(t *testing.T) []string {
	t.Helper()
	_, rest, found := strings.Cut(contentOf(t, "../README.md"), "## Quickstart for integrators")
	section, _, ended := strings.Cut(rest, "\n## ")
	if !found || !ended {
		t.Fatal("the README has no quickstart")
	}
	var blocks []string
	for {
		_, after, found := strings.Cut(section, "```sh\n")
		if !found {
			break
		}
		block, remaining, _ := strings.Cut(after, "```")
		blocks, section = append(blocks, block), remaining
	}
	if len(blocks) < 8 {
		t.Fatalf("only %d blocks were found", len(blocks))
	}
	return blocks
}
