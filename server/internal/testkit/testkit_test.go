package testkit_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestBothDatabasesAreFreshAndSound(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if n := s.Snapshot(); n == 0 {
			t.Error("what is built in was not seeded")
		}
	})
}

const childVariable = "MARQUE_TESTKIT_TEST_CHILD"

// TestChild is the body of the process that is killed below; on its own it
// tests nothing.
func TestChild(t *testing.T) {
	t.Parallel()
	if os.Getenv(childVariable) == "" {
		return
	}
	if _, err := os.Stdout.WriteString(filepath.Dir(testkit.PostgresSocket(t)) + "\n"); err != nil {
		t.Fatal(err)
	}
	select {} // until killed
}

func TestServerEndsWithAProcessThatWasKilled(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(line)
	if _, err := os.Stat(filepath.Join(dir, "data", "postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // killed: that is an error to it
	system := clock.System()
	deadline := system.Now().Add(20 * time.Second)
	for {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		if system.Now().After(deadline) {
			t.Fatalf("%s is still there", dir)
		}
		<-system.After(20 * time.Millisecond)
	}
}
