package postgres

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"
)

func TestAClusterStartsServesAndLeavesNothing(t *testing.T) {
	t.Parallel()
	c, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	first, err := c.Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.Copy(t.Context(), first)
	if err != nil || first == second {
		t.Fatalf("%q is a copy of %q: %v", second, first, err)
	}
	pid := c.process.Process.Pid
	c.Stop()
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the server is still there: %v", err)
	}
	if _, err := os.Stat(c.dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its files are still there: %v", err)
	}
}
