package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// apartVariable makes this program a caller and nothing else.
const apartVariable = "MARQUE_FAULTS_APART"

// caller is a process that asks: away from the processor of the server, and
// apart from other callers, so that none of them reads its clock late because
// another one is busy.
type caller struct {
	Address     string
	Authority   []byte // PEM
	Requests    [][]byte
	Connections int // none: it asks nothing, and is as busy as if it did
	Rate        float64
	Length      time.Duration
}

// shotsApart are shots on their way from one process to another.
type shotsApart struct {
	Statuses       map[int]int
	Unsaid, Broken int
	FirstFail      string
	OK, All        []time.Duration
}

// fireApart is fire in a process of its own, with the niceness given, on all
// processors but the first, which is the server's.
func fireApart(ctx context.Context, s *server.Server, niceness int, requests [][]byte, connections int, rate float64, length time.Duration) (*shots, error) {
	authority, err := os.ReadFile(filepath.Join(s.Dir(), "cert.pem"))
	if err != nil {
		return nil, err
	}
	in, err := json.Marshal(caller{s.Address, authority, requests, connections, rate, length})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	argv := []string{"nice", "-n", strconv.Itoa(niceness), self}
	if n := runtime.NumCPU(); n > 1 {
		argv = append([]string{"taskset", "-c", fmt.Sprintf("1-%d", n-1)}, argv...)
	}
	process := exec.CommandContext(ctx, argv[0], argv[1:]...)
	process.Env = append(os.Environ(), apartVariable+"=1")
	var out, problems bytes.Buffer
	process.Stdin, process.Stdout, process.Stderr = bytes.NewReader(in), &out, &problems
	if err := process.Run(); err != nil {
		return nil, fmt.Errorf("caller: %w: %s", err, problems.Bytes())
	}
	var r shotsApart
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return nil, err
	}
	result := &shots{statuses: r.Statuses, unsaid: r.Unsaid, broken: r.Broken, ok: r.OK, all: r.All}
	if r.FirstFail != "" {
		result.firstFail = errors.New(r.FirstFail)
	}
	return result, nil
}

// callApart is what the process does.
func callApart() error {
	var c caller
	if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
		return err
	}
	s := &server.Server{Address: c.Address, TLS: server.Trusting(c.Authority)}
	if c.Connections == 0 {
		for began := time.Now(); time.Since(began) < c.Length; {
		}
		return json.NewEncoder(os.Stdout).Encode(shotsApart{})
	}
	result, err := fire(context.Background(), s, c.Requests, c.Connections, c.Rate, c.Length)
	if err != nil {
		return err
	}
	r := shotsApart{result.statuses, result.unsaid, result.broken, "", result.ok, result.all}
	if result.firstFail != nil {
		r.FirstFail = result.firstFail.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
