// Package examples runs the examples of the SDKs against a running server, as
// a reader of their README would.
package examples

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/marque-id/marque/conformance/server"
)

const audience = "https://invoices.example.com"

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := build(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// build builds the server once, into a directory of its own.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "marque-examples")
	if err != nil {
		return "", err
	}
	out, err := try(context.Background(), filepath.Join("..", ".."), nil, "go", "build", "-o", filepath.Join(dir, "marque"), "./server")
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

func binary(t *testing.T) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "marque")
}

// world is a server with an API, and an agent that may read its invoices.
type world struct {
	server     *server.Server
	agentID    string
	secretFile string
	keyFile    string // with an API key of the agent
}

// newWorld starts a server of its own.
func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := server.Start(t.Context(), server.Options{Binary: binary(t), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)

	token, err := s.Token(t.Context(), s.AdminID, s.AdminSecret, "urn:marque:management")
	if err != nil {
		t.Fatal(err)
	}
	call := func(method, path string, body any) (answer struct {
		ID     string `json:"id"`
		Secret string `json:"client_secret"`
		APIKey string `json:"api_key"`
	}) {
		t.Helper()
		if err := s.Call(t.Context(), token, method, path, body, &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	type object = map[string]any
	api := call(http.MethodPost, "/v1/resource-servers", object{
		"identifier": audience, "name": "invoices",
		"permissions": []object{{"name": "invoices:read"}, {"name": "invoices:write"}},
	}).ID
	role := call(http.MethodPost, "/v1/roles", object{
		"name": "reader", "permissions": []object{{"resource_server": api, "permission": "invoices:read"}},
	}).ID
	dir := t.TempDir()
	w := &world{server: s, secretFile: filepath.Join(dir, "secret"), keyFile: filepath.Join(dir, "key")}
	w.agentID = call(http.MethodPost, "/v1/service-accounts", object{"name": "reader", "owner": "alice@example.com"}).ID
	call(http.MethodPut, "/v1/service-accounts/"+w.agentID+"/roles/"+role, nil)
	w.writeSecret(t, call(http.MethodPost, "/v1/service-accounts/"+w.agentID+"/client-secrets", nil).Secret)
	key := call(http.MethodPost, "/v1/service-accounts/"+w.agentID+"/api-keys", object{"name": "the example"}).APIKey
	if err := os.WriteFile(w.keyFile, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) writeSecret(t *testing.T, secret string) {
	t.Helper()
	if err := os.WriteFile(w.secretFile, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issuer is the environment of a program that verifies tokens.
func (w *world) issuer() []string {
	return []string{"MARQUE_ISSUER=" + w.server.URL, "MARQUE_CA_FILE=" + filepath.Join(w.server.Dir(), "cert.pem")}
}

// agent is the environment of the agent.
func (w *world) agent() []string {
	return append(w.issuer(), "MARQUE_CLIENT_ID="+w.agentID, "MARQUE_CLIENT_SECRET_FILE="+w.secretFile)
}

// administrator is the environment of the administrator.
func (w *world) administrator() []string {
	return append(w.issuer(), "MARQUE_CLIENT_ID="+w.server.AdminID, "MARQUE_CLIENT_SECRET="+w.server.AdminSecret)
}

// environ is this process's environment without settings of ours, and more.
func environ(more []string) []string {
	var env []string
	for _, line := range os.Environ() {
		if !strings.HasPrefix(line, "MARQUE_") {
			env = append(env, line)
		}
	}
	return append(env, more...)
}

// command runs a program to its end and returns what it printed.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	out, err := try(t.Context(), dir, env, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func try(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env = dir, environ(env)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}
