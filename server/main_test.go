package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// asMarque makes this test binary behave as the marque command, so that the
// tests run what users run, in a process of its own and under the same race
// detector.
const asMarque = "RUN_AS_MARQUE"

func TestMain(m *testing.M) {
	if os.Getenv(asMarque) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience is how long anything may take before a test gives up on it.
const patience = 30 * time.Second

// marque is a command to be run, with nothing set but env.
func marque(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// A server waits for subtests that wait for their turn on a busy machine.
	ctx, cancel := context.WithTimeout(context.Background(), 10*patience)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, self, args...)
	c.Dir = t.TempDir()
	c.Env = append([]string{asMarque + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir, "MARQUE_OPERATIONS_LISTEN=127.0.0.1:0"}, env...)
	return c
}

// run runs a command to its end.
func run(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	c := marque(t, env, args...)
	var out, problem bytes.Buffer
	c.Stdout, c.Stderr = &out, &problem
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String(), problem.String()
}

// server is a running `marque serve`.
type server struct {
	dir     string
	profile profile
	process *exec.Cmd
	stdout  transcript
	stderr  transcript
	ended   chan struct{}
}

type profile struct {
	Issuer           string `json:"issuer"`
	CAFile           string `json:"ca_file"`
	ClientID         string `json:"client_id"`
	ClientSecretFile string `json:"client_secret_file"`
}

// startDev starts a development server on a free port. env is added to its
// environment.
func startDev(t *testing.T, dir string, env ...string) *server {
	t.Helper()
	s := start(t, env, "serve", "--dev", "--data-dir", dir, "--listen", "127.0.0.1:0")
	s.readProfile(t, dir)
	return s
}

// readProfile reads what a development server has written for its clients.
func (s *server) readProfile(t *testing.T, dir string) {
	t.Helper()
	s.dir = dir
	content, err := os.ReadFile(filepath.Join(dir, "marque", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Current  string
		Profiles map[string]profile
	}
	if err := json.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	s.profile = file.Profiles[file.Current]
}

// start starts a server and waits until it says that it serves.
func start(t *testing.T, env []string, args ...string) *server {
	t.Helper()
	s := &server{process: marque(t, env, args...), ended: make(chan struct{})}
	s.process.Stderr = &s.stderr
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	serving := make(chan struct{})
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(stdout)
		for said := false; lines.Scan(); {
			_, _ = s.stdout.Write(append(lines.Bytes(), '\n'))
			if !said && strings.Contains(lines.Text(), "serving") {
				said = true
				close(serving)
			}
		}
		_ = s.process.Wait()
	}()
	t.Cleanup(s.kill)
	select {
	case <-serving:
	case <-s.ended:
		t.Fatalf("the server ended instead of serving:\n%s%s", s.stdout.String(), s.stderr.String())
	case <-time.After(patience):
		t.Fatalf("the server does not serve:\n%s", s.stderr.String())
	}
	return s
}

func (s *server) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// wait waits for the server's end and returns its exit code, -1 for a signal.
func (s *server) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-s.ended:
		return s.process.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("the server does not end:\n%s", s.stderr.String())
		return 0
	}
}

// stop ends the server well.
func (s *server) stop(t *testing.T) {
	t.Helper()
	s.signal(t, syscall.SIGTERM)
	if code := s.wait(t); code != 0 {
		t.Fatalf("it ended with %d:\n%s", code, s.stderr.String())
	}
}

func (s *server) kill() {
	_ = s.process.Process.Kill()
	<-s.ended
}

// address is host:port of the listener.
func (s *server) address() string { return strings.TrimPrefix(s.profile.Issuer, "https://") }

// transcript collects what a process says while somebody reads it.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *transcript) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *transcript) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
