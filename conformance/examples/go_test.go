package examples

import (
	"archive/zip"
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestGoExamplesAgainstARunningServer(t *testing.T) {
	t.Parallel()
	w, bin := newWorld(t), t.TempDir()
	command(t, filepath.Join("..", "..", "sdks", "go"), nil, "go", "build", "-o", bin, "./examples/...")
	run := func(env []string, name string, args ...string) string {
		t.Helper()
		return command(t, bin, env, filepath.Join(bin, name), args...)
	}
	url := startAPI(t, filepath.Join(bin, "protect"), w.issuer())

	if out := run(w.agent(), "agent", url+"/invoices", audience); !strings.HasPrefix(out, "200 the invoices of "+w.agentID) {
		t.Errorf("the agent printed %q", out)
	}
	if out := run(w.issuer(), "apikey", url+"/invoices", audience, w.keyFile); !strings.HasPrefix(out, "200 the invoices of "+w.agentID) {
		t.Errorf("the agent with an API key printed %q", out)
	}
	before, err := os.ReadFile(w.secretFile)
	if err != nil {
		t.Fatal(err)
	}
	if out := run(w.administrator(), "rotate", w.agentID, w.secretFile); strings.Count(out, "works until") != 1 {
		t.Errorf("rotate printed %q", out)
	}
	after, err := os.ReadFile(w.secretFile)
	if err != nil || string(after) == string(before) {
		t.Fatalf("the secret file still holds the old secret (%v)", err)
	}
	if out := run(w.agent(), "agent", url+"/invoices", audience); !strings.HasPrefix(out, "200 ") {
		t.Errorf("after the rotation the agent printed %q", out)
	}

	if out := run(w.administrator(), "stop"); !strings.Contains(out, "the token is refused: revoked") {
		t.Errorf("stop printed %q", out)
	}

	// What a reader gets wrong first.
	t.Run("wrong secret", func(t *testing.T) {
		w.writeSecret(t, "mqs_wrong")
		out, err := try(t.Context(), bin, w.agent(), filepath.Join(bin, "agent"), url+"/invoices", audience)
		if err == nil || !strings.Contains(out, "invalid_client") || strings.Contains(out, "mqs_wrong") {
			t.Errorf("%v, printed %q", err, out)
		}
	})
	t.Run("mistyped API key", func(t *testing.T) {
		env := append(w.issuer(), "MARQUE_API_KEY=mqk_wrong")
		out, err := try(t.Context(), bin, env, filepath.Join(bin, "agent"), url+"/invoices", audience)
		if err == nil || !strings.Contains(out, "MARQUE_API_KEY is cut off or mistyped") || strings.Contains(out, "mqk_wrong") {
			t.Errorf("%v, printed %q", err, out)
		}
	})
	t.Run("no authority", func(t *testing.T) {
		env := append(w.agent(), "MARQUE_CA_FILE=")
		out, err := try(t.Context(), bin, env, filepath.Join(bin, "agent"), url+"/invoices", audience)
		if err == nil || !strings.Contains(out, "MARQUE_CA_FILE") {
			t.Errorf("%v, printed %q", err, out)
		}
	})
	t.Run("no credential", func(t *testing.T) {
		env := append(w.issuer(), "HOME="+t.TempDir(), "XDG_CONFIG_HOME=")
		out, err := try(t.Context(), bin, env, filepath.Join(bin, "agent"), url+"/invoices", audience)
		if err == nil || !strings.Contains(out, "MARQUE_CLIENT_ID is not set") || !strings.Contains(out, "config.json does not exist") {
			t.Errorf("%v, printed %q", err, out)
		}
	})
}

// The SDK as the module proxy would serve it, in a module and a cache of their own.
func TestGoSDKInstallsIntoACleanModule(t *testing.T) {
	t.Parallel()
	const module, version = "github.com/marque-id/marque/sdks/go", "v0.1.0"
	source, proxy, home, user := filepath.Join("..", "..", "sdks", "go"), t.TempDir(), t.TempDir(), t.TempDir()
	at := filepath.Join(proxy, filepath.FromSlash(module), "@v", version)
	write := func(path string, content []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	write(at+".mod", mod)
	write(at+".info", []byte(`{"Version":"`+version+`"}`))
	write(at+".zip", pack(t, source, module+"@"+version+"/"))
	program, err := os.ReadFile(filepath.Join(source, "examples", "agent", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(user, "main.go"), program)
	env := []string{
		"GOPROXY=file://" + proxy, "GOSUMDB=off", "GOWORK=off", "GOENV=off", "GOTOOLCHAIN=local",
		"GOMODCACHE=" + filepath.Join(home, "modules"), "GOFLAGS=-modcacherw",
	}
	command(t, user, env, "go", "mod", "init", "example.com/agent")
	command(t, user, env, "go", "get", module+"@"+version)
	command(t, user, env, "go", "build", "-o", "agent", ".")
	if list := command(t, user, env, "go", "list", "-m", "all"); strings.Count(list, "\n") != 2 {
		t.Errorf("more than the SDK was installed:\n%s", list)
	}

	w := newWorld(t)
	out := command(t, user, w.administrator(), filepath.Join(user, "agent"), w.server.URL+"/v1/whoami", "urn:marque:management")
	if !strings.Contains(out, w.server.AdminID) {
		t.Errorf("the agent printed %q", out)
	}
}

// pack makes the archive of a module: all files below dir, without modules of
// their own, with names that begin with prefix.
func pack(t *testing.T, dir, prefix string) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil && path != dir {
				return filepath.SkipDir
			}
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		file, err := archive.Create(prefix + filepath.ToSlash(name))
		if err != nil {
			return err
		}
		_, err = file.Write(content)
		return err
	})
	if err := errors.Join(err, archive.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// startAPI starts the example that listens, and returns its URL.
func startAPI(t *testing.T, binary string, env []string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary)
	c.Env, c.Stderr = environ(env), os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("%v, printed %q", err, line)
	}
	return "http://" + address
}
