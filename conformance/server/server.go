// Package server runs the real marque binary as an operator would: a master
// key, a certificate, a configuration file, migrations, an administrator, serve.
// Programs that look at Marque from outside start it with this package.
package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Options say which server to run.
type Options struct {
	Binary   string            // path of the marque binary
	Dir      string            // for its files; the same directory again is the same installation
	Database string            // a database URL; empty is SQLite in Dir
	CPU      int               // the processor to pin it to, counted from 1; zero is any
	Env      map[string]string // further MARQUE_… settings
	Log      io.Writer         // what the server writes; nil is a file in Dir
}

// Unlimited are the settings, for Options.Env, of a server that a few accounts
// are to keep busy: the quotas of accounts are there, but out of reach.
func Unlimited() map[string]string {
	const most = "60000000"
	return map[string]string{
		"MARQUE_LIMITS_TOKENS_PER_MINUTE": most, "MARQUE_LIMITS_INTROSPECTIONS_PER_MINUTE": most, "MARQUE_LIMITS_MANAGEMENT_PER_MINUTE": most,
	}
}

// Server is a running marque.
type Server struct {
	URL         string
	Address     string // host:port
	Operations  string // URL of the listener for operators: health, readiness, metrics
	TLS         *tls.Config
	HTTP        *http.Client
	AdminID     string
	AdminSecret string

	options Options
	process *exec.Cmd
	ended   chan error
}

// Install prepares the directory once: keys, certificate, configuration,
// schema, administrator. It may be called again on the same directory.
func Install(ctx context.Context, o Options) error {
	if _, err := os.Stat(filepath.Join(o.Dir, "installed")); err == nil {
		return nil
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	operations, err := freePort()
	if err != nil {
		return err
	}
	if err := writeCertificate(o.Dir); err != nil {
		return err
	}
	config := fmt.Sprintf("issuer: https://localhost:%d\n", port) + settings(o.Dir, port, operations)
	if err := os.WriteFile(filepath.Join(o.Dir, "config.yaml"), []byte(config), 0o600); err != nil {
		return err
	}
	for _, command := range [][]string{{"master-key", "generate"}, {"migrate"}} {
		if _, err := run(ctx, o, command...); err != nil {
			return err
		}
	}
	out, err := run(ctx, o, "bootstrap-admin")
	if err != nil {
		return err
	}
	id, secret := regexp.MustCompile(`sa_[0-9a-z]{26}`).FindString(out), regexp.MustCompile(`mqs_[0-9A-Za-z]{49}`).FindString(out)
	if id == "" || secret == "" {
		return errors.New("bootstrap-admin printed no client id and secret")
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "admin"), []byte(id+"\n"+secret+"\n"), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(o.Dir, "installed"), fmt.Appendf(nil, "%d %d", port, operations), 0o600)
}

// Trusting is how a client speaks TLS to a server whose certificate an authority
// vouches for, given as PEM.
func Trusting(authority []byte) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13}
}

// Start installs where needed, starts the server and returns when it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := Install(ctx, o); err != nil {
		return nil, err
	}
	ports, err := os.ReadFile(filepath.Join(o.Dir, "installed"))
	if err != nil {
		return nil, err
	}
	port, operations, _ := strings.Cut(string(ports), " ")
	admin, err := os.ReadFile(filepath.Join(o.Dir, "admin"))
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(filepath.Join(o.Dir, "cert.pem"))
	if err != nil {
		return nil, err
	}
	id, secret, _ := strings.Cut(strings.TrimSpace(string(admin)), "\n")
	s := &Server{
		URL: "https://localhost:" + port, Address: "127.0.0.1:" + port, Operations: "https://localhost:" + operations,
		TLS:     Trusting(authority),
		AdminID: id, AdminSecret: secret,
		options: o, ended: make(chan error, 1),
	}
	s.HTTP = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: s.TLS, MaxIdleConnsPerHost: 256}}

	s.process = command(ctx, o, "serve")
	if o.CPU > 0 {
		s.process.Args = append([]string{"taskset", "-c", strconv.Itoa(o.CPU - 1)}, s.process.Args...)
		if s.process.Path, err = exec.LookPath("taskset"); err != nil {
			return nil, err
		}
	}
	log := o.Log
	if log == nil {
		file, err := os.OpenFile(filepath.Join(o.Dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		log = file
	}
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go func() { s.ended <- s.process.Wait() }()
	return s, s.awaitReady(ctx)
}

func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		request, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/.well-known/jwks.json", nil)
		response, err := s.HTTP.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case ended := <-s.ended:
			s.ended <- ended
			tail, _ := os.ReadFile(filepath.Join(s.options.Dir, "server.log"))
			return fmt.Errorf("the server ended before it answered: %v\n%s", ended, tail[max(0, len(tail)-2000):])
		case <-ctx.Done():
			s.Kill()
			return fmt.Errorf("the server did not answer in time: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Dir is where its files are: cert.pem, key.pem, config.yaml, server.log.
func (s *Server) Dir() string { return s.options.Dir }

// PID is the server's process id.
func (s *Server) PID() int { return s.process.Process.Pid }

// Kill ends the server with SIGKILL and waits until it is gone.
func (s *Server) Kill() {
	_ = s.process.Process.Kill()
	s.ended <- <-s.ended
	s.HTTP.CloseIdleConnections()
}

// Stop ends the server with SIGTERM and waits until it is gone.
func (s *Server) Stop() error {
	_ = s.process.Process.Signal(syscall.SIGTERM)
	err := <-s.ended
	s.ended <- err
	s.HTTP.CloseIdleConnections()
	return err
}

// Signal sends the server a signal.
func (s *Server) Signal(signal os.Signal) error { return s.process.Process.Signal(signal) }

// Wait waits until the server has ended, or ctx.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case err := <-s.ended:
		s.ended <- err
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Running reports whether the server has not ended.
func (s *Server) Running() bool {
	select {
	case err := <-s.ended:
		s.ended <- err
		return false
	default:
		return true
	}
}

// From is a client whose connections come from the given address of this host,
// such as 127.0.0.2.
func (s *Server) From(address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Timeout: s.HTTP.Timeout, Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: s.TLS, MaxIdleConnsPerHost: 256,
	}}
}

// Command runs another command of the binary on the same installation, such as
// "audit", "verify", and returns what it printed.
func (s *Server) Command(ctx context.Context, args ...string) (string, error) {
	return run(ctx, s.options, args...)
}

// Prepared is such a command that is not started yet, for who wants to end it
// in his own way.
func (s *Server) Prepared(ctx context.Context, args ...string) *exec.Cmd {
	return command(ctx, s.options, args...)
}

func command(ctx context.Context, o Options, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, o.Binary, append(args, "--config", filepath.Join(o.Dir, "config.yaml"))...)
	for _, line := range os.Environ() {
		if !strings.HasPrefix(line, "MARQUE_") {
			c.Env = append(c.Env, line)
		}
	}
	if o.Database != "" {
		c.Env = append(c.Env, "MARQUE_DATABASE_URL="+o.Database)
	}
	for name, value := range o.Env {
		c.Env = append(c.Env, name+"="+value)
	}
	return c
}

func run(ctx context.Context, o Options, args ...string) (string, error) {
	c := command(ctx, o, args...)
	var out, failure bytes.Buffer
	c.Stdout, c.Stderr = &out, &failure
	if err := c.Run(); err != nil {
		return out.String(), fmt.Errorf("marque %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), failure.String())
	}
	return out.String() + failure.String(), nil
}

// freePort finds a port on which nothing listens, below the range that systems
// hand out by themselves (32768 and up): what it finds must stay free until the
// server binds it, and once more each time the server is started again, while
// other tests open connections and listeners on ports of the system's choice.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 10_000 + rand.IntN(22_000)
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}
