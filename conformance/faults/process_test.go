package faults

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// memory is how much memory the server holds now and has held at most, in MiB.
func memory(t *testing.T, s *server.Server) (now, peak int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	must(t, err)
	read := func(name string) int {
		m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(status)
		if m == nil {
			t.Fatalf("no %s in /proc", name)
		}
		n, _ := strconv.Atoi(string(m[1]))
		return n >> 10
	}
	return read("VmRSS"), read("VmHWM")
}

// goroutines ends the server and counts its goroutines in what the runtime
// writes at its end.
func goroutines(t *testing.T, s *server.Server, o server.Options) int {
	t.Helper()
	before := len(serverLog(t, o))
	must(t, s.Signal(syscall.SIGQUIT))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_ = s.Wait(ctx) // it ends with an error: that is what was asked for
	dump := serverLog(t, o)[before:]
	n := len(regexp.MustCompile(`(?m)^goroutine \d+ `).FindAll(dump, -1))
	if n == 0 {
		t.Errorf("the runtime wrote no goroutines: %s", bytes.TrimSpace(dump))
	}
	return n
}
