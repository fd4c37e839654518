package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/store"
)

// masterKeyFile is the installation's.
func (i installation) masterKeyFile() string { return filepath.Join(i.dir, "data", "master.key") }

// says runs a command that must end well and print something.
func (i installation) says(t *testing.T, env []string, want string, args ...string) {
	t.Helper()
	code, stdout, stderr := run(t, env, append(args, "--config", i.file)...)
	if code != 0 || !strings.Contains(stdout, want) {
		t.Errorf("marque %s: exit code %d, want %q\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	i.keepsTheKeySecret(t, stdout+stderr)
}

// refusesWith is refuses with an environment.
func (i installation) refusesWith(t *testing.T, env []string, want []string, args ...string) {
	t.Helper()
	code, stdout, stderr := run(t, env, append(args, "--config", i.file)...)
	for _, w := range want {
		if code != 1 || !strings.Contains(stdout+stderr, w) {
			t.Errorf("marque %s: exit code %d, want 1 and %q\n%s%s", strings.Join(args, " "), code, w, stdout, stderr)
		}
	}
	i.keepsTheKeySecret(t, stdout+stderr)
}

func (i installation) keepsTheKeySecret(t *testing.T, said string) {
	t.Helper()
	text, err := os.ReadFile(i.masterKeyFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		_, key, _ := strings.Cut(strings.TrimSpace(line), ":")
		if key != "" && strings.Contains(said, key) {
			t.Error("the master key was printed")
		}
	}
}

func TestAMasterKeyIsRotatedWhileAServerRunsOnSQLite(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.succeeds(t, "master-key", "generate")
	i.succeeds(t, "migrate")
	i.refusesWith(t, nil, []string{"nothing is sealed in this database yet"}, "master-key", "rotate")
	out := filepath.Join(i.dir, "secret")
	said := i.succeeds(t, "bootstrap-admin", "--out", out)
	i.says(t, nil, "OK: all 4 sealed row(s) open", "master-key", "check")
	if err := os.Chmod(i.masterKeyFile(), 0o400); err != nil { // an operator may keep it so
		t.Fatal(err)
	}

	first := contentOf(t, i.masterKeyFile())
	dir, err := os.Open(filepath.Dir(i.masterKeyFile())) // as another rotation holds it
	if err == nil {
		err = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	i.refusesWith(t, nil, []string{"another process works on the master key file"}, "master-key", "rotate")
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	admin := profile{CAFile: filepath.Join(i.dir, "dev", "ca.pem"), ClientSecretFile: out, ClientID: strings.Fields(said)[1]}
	s := i.node(t, nil, admin)
	client := s.client(t)
	token := s.adminToken(t, client)
	i.says(t, nil, "rotated 4 row(s) from v1 to v2; all 4 rows open with it alone", "master-key", "rotate")
	// The server noticed nothing, and signs and reads as before.
	if status := s.call(t, client, token, http.MethodGet, "/v1/whoami", "", nil); status != http.StatusOK {
		t.Errorf("a token from before: %d", status)
	}
	token = s.adminToken(t, client)
	i.says(t, nil, "not needed       v1", "master-key", "check")
	i.refusesWith(t, nil, []string{"4 row(s) are still sealed under version 2"}, "master-key", "drop", "--version", "2")
	i.refusesWith(t, nil, []string{"version 3 is not in it"}, "master-key", "drop", "--version", "3")
	i.refuses(t, 2, "--version says which one", "master-key", "drop")
	both := contentOf(t, i.masterKeyFile())
	i.says(t, nil, "took version 1 out of", "master-key", "drop", "--version", "1")
	if info, err := os.Stat(i.masterKeyFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if kept := contentOf(t, i.masterKeyFile()); strings.TrimPrefix(both, first) != kept || strings.Contains(kept, "v1:") {
		t.Error("the file has not exactly the new line")
	}
	s.stop(t)

	// What is left of the old key is not needed, and not enough.
	s = i.node(t, nil, admin)
	if status := s.call(t, s.client(t), token, http.MethodGet, "/v1/whoami", "", nil); status != http.StatusOK {
		t.Errorf("after the start with the new key alone: %d", status)
	}
	s.stop(t)
	everythingIsPrivate(t, filepath.Join(i.dir, "data"))
	if err := os.WriteFile(i.masterKeyFile(), []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	wants := []string{"version 2 of the master key, which is not among the known ones (v1)", "add its line, v2:…, to " + i.masterKeyFile()}
	for _, args := range [][]string{{"serve"}, {"bootstrap-admin", "--recover"}, {"audit", "verify"}, {"master-key", "check"}, {"master-key", "rotate"}, {"master-key", "drop", "--version", "1"}} {
		i.refusesWith(t, nil, wants, args...)
	}
	if contentOf(t, i.masterKeyFile()) != first {
		t.Error("a refused rotation has changed the file")
	}
	if err := os.WriteFile(i.masterKeyFile(), []byte(both), 0o600); err != nil {
		t.Fatal(err)
	}
	i.says(t, nil, "OK", "audit", "verify")
}

func TestAMissingOrWrongMasterKeyIsToldByVersion(t *testing.T) {
	t.Parallel()
	i := install(t)
	i.succeeds(t, "master-key", "generate")
	i.succeeds(t, "migrate")
	i.succeeds(t, "bootstrap-admin")
	i.succeeds(t, "master-key", "rotate")
	good := contentOf(t, i.masterKeyFile())

	if err := os.Remove(i.masterKeyFile()); err != nil {
		t.Fatal(err)
	}
	commands := [][]string{{"serve"}, {"master-key", "check"}, {"master-key", "rotate"}, {"master-key", "drop", "--version", "1"}}
	for _, args := range commands {
		i.refusesWith(t, nil, []string{"there is no master key file " + i.masterKeyFile(), "sealed under version 2", "v2:…"}, args...)
	}
	// The same number, another key.
	_, wrong, _ := run(t, nil, "master-key", "generate", "--print", "--version", "2")
	if !strings.HasPrefix(wrong, "v2:") {
		t.Fatalf("printed %d bytes", len(wrong))
	}
	if err := os.WriteFile(i.masterKeyFile(), []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range commands {
		i.refusesWith(t, nil, []string{"version 2 of the master key does not open the signing key sig_", "restore the master key that belongs to this database, or the row from a backup"}, args...)
	}

	// A row that was altered is told by its name; the others still count.
	if err := os.WriteFile(i.masterKeyFile(), []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	i.alterPepper(t)
	for _, args := range commands {
		i.refusesWith(t, nil, []string{"version 2 of the master key does not open the sealed secret pepper"}, args...)
	}
	i.refusesWith(t, nil, []string{"BROKEN: 1 of 4 sealed row(s) do not open", "v2 wanted, the sealed secret pepper"}, "master-key", "check")
	if contentOf(t, i.masterKeyFile()) != good {
		t.Error("a refused rotation has changed the file")
	}
}

// alterPepper changes one byte of the database file, in the wrapped key of the pepper.
func (i installation) alterPepper(t *testing.T) {
	t.Helper()
	path := filepath.Join(i.dir, "data", "marque.db")
	st, err := store.Open(t.Context(), store.Options{URL: "sqlite:" + path, ReadOnly: true, Clock: clock.System()})
	if err != nil {
		t.Fatal(err)
	}
	var pepper *store.Sealed
	err = st.View(t.Context(), func(r *store.Reader) (err error) {
		pepper, err = r.SealedSecret(t.Context(), "pepper")
		return err
	})
	if err := errors.Join(err, st.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	file := []byte(contentOf(t, path))
	at := bytes.Index(file, pepper.WrappedKey)
	if at < 0 {
		t.Fatal("the pepper is not in the file")
	}
	file[at+20] ^= 1
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAMasterKeyIsRotatedInTwoStepsOnSeveralNodes(t *testing.T) {
	t.Parallel()
	i := install(t)
	here, there, env := i.twoNodes(t)
	hereClient, thereClient := here.client(t), there.client(t)
	one := contentOf(t, i.masterKeyFile())

	// Without a prepared version nothing happens on a database that others use.
	i.says(t, env, "nothing to do: all 4 rows are sealed under version 1", "master-key", "rotate")
	i.says(t, env, "copy the file to every node", "master-key", "rotate", "--prepare")
	i.says(t, env, "version 2 is prepared already", "master-key", "rotate", "--prepare")
	i.says(t, env, "to be rotated    4 row(s) to v2", "master-key", "check")
	i.refusesWith(t, env, []string{"still sealed under version 1"}, "master-key", "drop", "--version", "1")
	i.says(t, env, "rotated 4 row(s) from v1 to v2", "master-key", "rotate")
	i.says(t, env, "nothing to do: all 4 rows are sealed under version 2", "master-key", "rotate")
	i.says(t, env, "added version 3", "master-key", "rotate", "--one-node")
	i.says(t, env, "took version 1 out of", "master-key", "drop", "--version", "1")
	i.says(t, env, "took version 2 out of", "master-key", "drop", "--version", "2")

	token := here.adminToken(t, hereClient)
	if status := there.call(t, thereClient, token, http.MethodGet, "/v1/whoami", "", nil); status != http.StatusOK {
		t.Errorf("the other node: %d", status)
	}
	here.stop(t)
	here = i.node(t, env, here.profile)
	token = here.adminToken(t, here.client(t))
	if status := there.call(t, thereClient, token, http.MethodGet, "/v1/whoami", "", nil); status != http.StatusOK {
		t.Errorf("a token of the node that has started again: %d", status)
	}
	var events struct {
		Items []struct{ Details map[string]string }
	}
	if status := here.call(t, here.client(t), token, http.MethodGet, "/v1/audit-events?type=master_key.rotated", "", &events); status != http.StatusOK || len(events.Items) != 2 ||
		events.Items[0].Details["to"] == "" || events.Items[0].Details["rows"] != "4" {
		t.Errorf("%d, events %+v", status, events)
	}
	there.stop(t)
	here.stop(t)

	// In the environment an operator makes the line and adds it.
	three := contentOf(t, i.masterKeyFile())
	if err := os.Remove(i.masterKeyFile()); err != nil {
		t.Fatal(err)
	}
	value := func(lines ...string) []string {
		return append(env[:1:1], "MARQUE_MASTER_KEY="+strings.Join(lines, ","))
	}
	three = strings.TrimSpace(three)
	i.says(t, value(three), "generate --print --version 4", "master-key", "rotate")
	if code, _, stderr := run(t, value(three), "master-key", "rotate", "--prepare", "--config", i.file); code != 2 || !strings.Contains(stderr, "MARQUE_MASTER_KEY") {
		t.Errorf("%d, %s", code, stderr)
	}
	_, four, _ := run(t, nil, "master-key", "generate", "--print", "--version", "4")
	i.says(t, value(three, strings.TrimSpace(four)), "rotated 4 row(s) from v3 to v4", "master-key", "rotate")
	i.says(t, value(strings.TrimSpace(four)), "OK: all 4", "master-key", "check")
	i.refusesWith(t, value(three), []string{"add its line, v4:…, to MARQUE_MASTER_KEY"}, "serve")
	i.refusesWith(t, value(three, strings.TrimSpace(four)), []string{"take the line v3:… out of its value yourself"}, "master-key", "drop", "--version", "3")
	i.refusesWith(t, value(strings.TrimSpace(one)), []string{"version 4"}, "master-key", "rotate")
}
