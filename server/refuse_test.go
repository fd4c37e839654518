package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// installation is a directory with all that a production server needs.
type installation struct {
	dir  string
	file string // marque.yaml
}

func install(t *testing.T) installation {
	t.Helper()
	dir := t.TempDir()
	// A development server makes a certificate that will do.
	s := startDev(t, filepath.Join(dir, "dev"))
	s.stop(t)
	i := installation{dir: dir, file: filepath.Join(dir, "marque.yaml")}
	i.write(t, "")
	return i
}

// write writes the configuration, with more lines at its end.
func (i installation) write(t *testing.T, more string) {
	t.Helper()
	content := "issuer: https://localhost:18443\nlisten: 127.0.0.1:0\ndata_dir: " + filepath.Join(i.dir, "data") + "\n" +
		"tls:\n  certificate_file: " + filepath.Join(i.dir, "dev", "server.pem") + "\n  key_file: " + filepath.Join(i.dir, "dev", "server-key.pem") + "\n" + more
	if err := os.WriteFile(i.file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// succeeds runs a command that must end well, and returns what it printed.
func (i installation) succeeds(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := run(t, nil, append(args, "--config", i.file)...)
	if code != 0 {
		t.Fatalf("marque %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// refuses runs a command that must fail with a code and a message.
func (i installation) refuses(t *testing.T, wantCode int, want string, args ...string) {
	t.Helper()
	code, stdout, stderr := run(t, nil, append(args, "--config", i.file)...)
	if code != wantCode || !strings.Contains(stderr, want) {
		t.Errorf("marque %s: exit code %d, want %d and %q\n%s%s", strings.Join(args, " "), code, wantCode, want, stdout, stderr)
	}
}

// TestAProductionServerRefusesToStartHalfPrepared takes the steps of the README
// one by one: before each, the server says what is missing.
func TestAProductionServerRefusesToStartHalfPrepared(t *testing.T) {
	t.Parallel()
	i := install(t)

	i.refuses(t, 1, "master_key_file: there is no master key file", "serve")
	i.refuses(t, 2, "master_key_file", "config", "check")
	i.succeeds(t, "master-key", "generate")
	i.refuses(t, 1, "exists already", "master-key", "generate")

	i.refuses(t, 1, "run `marque migrate` first", "serve")
	i.refuses(t, 1, "run `marque migrate` first", "bootstrap-admin")
	if out := i.succeeds(t, "migrate"); !strings.Contains(out, "applied 0001_foundation") {
		t.Errorf("migrate said %q", out)
	}
	if out := i.succeeds(t, "migrate"); strings.Contains(out, "applied") {
		t.Errorf("the second time migrate said %q", out)
	}

	if out := i.succeeds(t, "bootstrap-admin"); !strings.Contains(out, "client_id: sa_") || !strings.Contains(out, "client_secret: mqs_") {
		t.Errorf("bootstrap-admin said %q", out)
	}
	i.refuses(t, 1, "--recover", "bootstrap-admin")
	out := filepath.Join(i.dir, "secret")
	if said := i.succeeds(t, "bootstrap-admin", "--recover", "--out", out); strings.Contains(said, "mqs_") || !strings.HasPrefix(contentOf(t, out), "mqs_") {
		t.Errorf("bootstrap-admin --recover said %q", said)
	}

	checked := i.succeeds(t, "config", "check")
	if !strings.Contains(checked, "issuer = https://localhost:18443") || !strings.Contains(checked, "# "+i.file+":1") {
		t.Errorf("config check said\n%s", checked)
	}
	s := start(t, nil, "serve", "--config", i.file)
	s.stop(t)
	everythingIsPrivate(t, filepath.Join(i.dir, "data"))

	// A master key of another installation does not open this database.
	if err := os.Remove(filepath.Join(i.dir, "data", "master.key")); err != nil {
		t.Fatal(err)
	}
	i.succeeds(t, "master-key", "generate")
	i.refuses(t, 1, "it is not the key of this database", "serve")
}

func TestAServerRefusesToStartWith(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.succeeds(t, "master-key", "generate")
	for _, tc := range []struct {
		name string
		more string // of the configuration
		env  string
		want string
		code int
	}{
		{"a remote database without TLS", "database:\n  url: postgres://u@db.example.com/d?sslmode=disable\n", "", "database.url", 1},
		{"a remote database with unverified TLS", "database:\n  url: postgres://u@db.example.com/d?sslmode=require\n", "", "sslmode=verify-full", 1},
		{"an unknown key", "colour: red\n", "", "marque.yaml:7: unknown key colour", 2},
		{"an unknown variable", "", "MARQUE_COLOUR=red", "unknown variable MARQUE_COLOUR", 2},
		{"a certificate that is not there", "", "MARQUE_TLS_CERTIFICATE_FILE=/nowhere.pem", "/nowhere.pem", 1},
		{"the key of another certificate", "", "MARQUE_TLS_KEY_FILE=" + filepath.Join(i.dir, "dev", "ca-key.pem"), "tls.certificate_file, tls.key_file", 1},
		{"a master key that is none", "", "MARQUE_MASTER_KEY=hunter2", "master_key: ", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "marque.yaml")
			if err := os.WriteFile(file, []byte(contentOf(t, i.file)+tc.more), 0o600); err != nil {
				t.Fatal(err)
			}
			code, stdout, stderr := run(t, strings.Fields(tc.env), "serve", "--config", file)
			if code != tc.code || !strings.Contains(stderr, tc.want) {
				t.Errorf("exit code %d, want %d and %q\n%s%s", code, tc.code, tc.want, stdout, stderr)
			}
			// config check finds it too, without touching anything.
			if code, _, stderr := run(t, strings.Fields(tc.env), "config", "check", "--config", file); code != 2 || !strings.Contains(stderr, tc.want) {
				t.Errorf("config check: exit code %d, want 2 and %q\n%s", code, tc.want, stderr)
			}
			if strings.Contains(stderr, "hunter2") {
				t.Errorf("a secret is in the message:\n%s", stderr)
			}
		})
	}
}

func TestMisuseOfTheCommandLineIsTold(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"serv"}, `"serv" is not understood`},
		{[]string{"serve", "now"}, `"now" is not understood`},
		{[]string{"serve", "--colour", "red"}, "unknown flag: --colour"},
		{[]string{"config", "chek"}, `"chek" is not understood`},
		{[]string{"serve", "--config", "/nowhere.yaml"}, "/nowhere.yaml"},
	} {
		code, _, stderr := run(t, nil, tc.args...)
		if code != 2 || !strings.Contains(stderr, tc.want) {
			t.Errorf("marque %v: exit code %d\n%s", tc.args, code, stderr)
		}
	}
	if code, stdout, _ := run(t, nil, "version"); code != 0 || !strings.HasPrefix(stdout, "marque ") {
		t.Errorf("version: %d, %q", code, stdout)
	}
	if code, stdout, _ := run(t, nil, "config", "docs"); code != 0 || !strings.Contains(stdout, "| `operations.listen` | `MARQUE_OPERATIONS_LISTEN` | 127.0.0.1:9443 |") {
		t.Errorf("config docs: %d, %q", code, stdout)
	}
	if code, stdout, _ := run(t, nil); code != 0 || !strings.Contains(stdout, "bootstrap-admin") {
		t.Errorf("no command: %d, %q", code, stdout)
	}
}
