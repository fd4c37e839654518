package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is a running development server.
type server struct {
	binary  string
	dir     string
	profile profile
	took    time.Duration // from start to ready

	process *exec.Cmd
	log     bytes.Buffer
	ended   chan error
}

// profile is what a client has to know, from the file that the server writes.
type profile struct {
	Issuer           string `json:"issuer"`
	CAFile           string `json:"ca_file"`
	ClientID         string `json:"client_id"`
	ClientSecretFile string `json:"client_secret_file"`
}

const startTimeout = 20 * time.Second

// startServer runs `marque serve --dev` on a free port and waits until it says
// that it is serving.
func startServer(ctx context.Context, binary, dir string) (*server, error) {
	s := &server{binary: binary, dir: dir, ended: make(chan error, 1)}
	s.process = exec.CommandContext(ctx, binary, "serve", "--dev", "--data-dir", dir, "--listen", "127.0.0.1:0")
	s.process.Env = append(withoutSettings(os.Environ()), "MARQUE_OPERATIONS_LISTEN=off")
	s.process.Stderr = &s.log
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("start %s (make build builds it): %w", binary, err)
	}

	ready := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(stdout)
		for said := false; lines.Scan(); {
			if !said && strings.Contains(lines.Text(), "serving") {
				close(ready)
				said = true
			}
		}
		s.ended <- s.process.Wait()
	}()
	select {
	case <-ready:
		s.took = time.Since(begin)
	case err := <-s.ended:
		return nil, fmt.Errorf("the server did not start: %w\n%s", err, s.log.String())
	case <-time.After(startTimeout):
		s.kill()
		return nil, fmt.Errorf("the server was not ready after %s\n%s", startTimeout, s.log.String())
	}
	return s, s.readProfile()
}

func (s *server) readProfile() error {
	content, err := os.ReadFile(filepath.Join(s.dir, "marque", "config.json"))
	if err != nil {
		return err
	}
	var file struct {
		Current  string
		Profiles map[string]profile
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return err
	}
	s.profile = file.Profiles[file.Current]
	return nil
}

// stop asks the server to end, as an operator would, and waits for it.
func (s *server) stop() error {
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := <-s.ended
	s.ended <- err
	if err != nil {
		return fmt.Errorf("the server did not end well: %w\n%s", err, s.log.String())
	}
	return nil
}

// kill makes sure that nothing is left behind.
func (s *server) kill() {
	_ = s.process.Process.Kill()
	s.ended <- <-s.ended
}

// command runs another command of the binary on the same data directory.
func (s *server) command(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, s.binary, append(args, "--dev", "--data-dir", s.dir)...)
	c.Env = withoutSettings(os.Environ())
	out, err := c.CombinedOutput()
	return string(out), err
}

// withoutSettings keeps what is set for another server away from ours.
func withoutSettings(environ []string) []string {
	var kept []string
	for _, entry := range environ {
		if !strings.HasPrefix(entry, "MARQUE_") {
			kept = append(kept, entry)
		}
	}
	return kept
}
