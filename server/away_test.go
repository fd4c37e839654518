package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/testkit"
)

// gate is a way to a PostgreSQL that can be shut.
type gate struct {
	URL    string // of the database, through the gate
	path   string // of the gate's socket
	socket string // of the server

	mu       sync.Mutex
	listener net.Listener
	open     []net.Conn
}

func newGate(t *testing.T) *gate {
	t.Helper()
	u, err := url.Parse(testkit.Postgres(t))
	must(t, err)
	dir, err := os.MkdirTemp("/tmp", "gate-") // the path of a socket may have 107 bytes
	must(t, err)
	g := &gate{path: filepath.Join(dir, ".s.PGSQL.5432"), socket: filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432")}
	u.RawQuery = url.Values{"host": {dir}}.Encode()
	g.URL = u.String()
	t.Cleanup(func() {
		g.shut()
		_ = os.RemoveAll(dir)
	})
	return g
}

func (g *gate) unlock(t *testing.T) {
	t.Helper()
	l, err := net.Listen("unix", g.path)
	must(t, err)
	g.mu.Lock()
	g.listener = l
	g.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("unix", g.socket)
			if err != nil {
				_ = c.Close()
				continue
			}
			g.mu.Lock()
			g.open = append(g.open, c, s)
			g.mu.Unlock()
			for _, pair := range [][2]net.Conn{{c, s}, {s, c}} {
				go func() {
					_, err := io.Copy(pair[0], pair[1])
					_ = errors.Join(err, pair[0].Close(), pair[1].Close())
				}()
			}
		}
	}()
}

// shut takes the database away: what is open breaks, what is new is refused.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listener != nil {
		_ = g.listener.Close()
	}
	for _, c := range g.open {
		_ = c.Close()
	}
	g.listener, g.open = nil, nil
}

func TestADatabaseThatIsAwayAtTheStart(t *testing.T) {
	t.Parallel()
	i, g := install(t), newGate(t)
	i.succeeds(t, "master-key", "generate")
	env := []string{"MARQUE_DATABASE_URL=" + g.URL, "MARQUE_DATABASE_CONNECT_TIMEOUT=1s"}
	for _, command := range []string{"serve", "migrate"} {
		code, _, stderr := run(t, env, command, "--config", i.file)
		if code != 1 || !strings.Contains(stderr, "database.url: the database could not be reached within 1s (database.connect_timeout)") {
			t.Errorf("%s: exit code %d\n%s", command, code, stderr)
		}
	}
	// One that comes in time is waited for.
	env[1] = "MARQUE_DATABASE_CONNECT_TIMEOUT=30s"
	late := time.AfterFunc(time.Second, func() { g.unlock(t) })
	defer late.Stop()
	if code, stdout, stderr := run(t, env, "migrate", "--config", i.file); code != 0 {
		t.Errorf("migrate: exit code %d\n%s%s", code, stdout, stderr)
	}
	// What waiting does not mend is told at once: here, a user that is unknown.
	wrong := strings.Replace(g.URL, "marque@", "nobody@", 1)
	code, _, stderr := run(t, []string{"MARQUE_DATABASE_URL=" + wrong, env[1]}, "serve", "--config", i.file)
	if code != 1 || strings.Contains(stderr, "connect_timeout") || !strings.Contains(stderr, "database.url: ") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestADatabaseThatGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	i, g := install(t), newGate(t)
	g.unlock(t)
	i.succeeds(t, "master-key", "generate")
	env := []string{"MARQUE_DATABASE_URL=" + g.URL}
	for _, command := range []string{"migrate", "bootstrap-admin"} {
		if code, out, stderr := run(t, env, command, "--config", i.file); code != 0 {
			t.Fatalf("%s: %s%s", command, out, stderr)
		}
	}
	s := i.node(t, env, profile{CAFile: filepath.Join(i.dir, "dev", "ca.pem")})
	s.profile.Issuer = strings.Replace(s.profile.Issuer, "127.0.0.1", "localhost", 1)
	client, operations := s.client(t), s.operations(t)
	ready := func() bool {
		status, _ := get(t, client, operations+"/readyz")
		return status == http.StatusOK
	}
	eventually(t, "it is ready", ready)

	g.shut()
	eventually(t, "readiness says that the database is away", func() bool {
		status, body := get(t, client, operations+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, `"database"`) && !strings.Contains(body, `"database": "ok"`)
	})
	if status, _ := get(t, client, operations+"/healthz"); status != http.StatusOK {
		t.Errorf("alive? %d", status)
	}
	if status, _ := get(t, client, s.profile.Issuer+"/.well-known/jwks.json"); status != http.StatusOK {
		t.Errorf("keys: %d", status)
	}

	g.unlock(t)
	eventually(t, "it is ready again", ready)
	s.stop(t)
}
