package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAuditVerifyBesideARunningServerAndAfterIt(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())
	s.adminToken(t, s.client(t))
	verify := func(when string) {
		t.Helper()
		code, out, stderr := run(t, nil, "audit", "verify", "--dev", "--data-dir", s.dir)
		if code != 0 || !strings.Contains(out, "OK") {
			t.Errorf("%s: exit code %d\n%s%s", when, code, out, stderr)
		}
	}
	verify("beside a running server")
	s.stop(t)
	verify("after it has stopped")
	if stderr := s.stderr.String(); strings.Contains(stderr, "ERROR") {
		t.Errorf("the server was disturbed:\n%s", stderr)
	}
}

// TestAuditVerifyFindsAChangedRow edits the bytes of the database file, as
// somebody with write access to it could.
func TestAuditVerifyFindsAChangedRow(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())
	client := s.client(t)
	token := s.adminToken(t, client)
	if status := s.call(t, client, token, http.MethodPost, "/v1/service-accounts", `{"name":"witness","owner":"alice"}`, nil); status != http.StatusCreated {
		t.Fatalf("create: %d", status)
	}
	s.stop(t)

	path := filepath.Join(s.dir, "marque.db")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.ReplaceAll(content, []byte(`"type":"service_account.created"`), []byte(`"type":"service_account.updated"`))
	changed = bytes.ReplaceAll(changed, []byte(`"type":"service_account.created"`), []byte(`"type":"service_account.deleted"`))
	if bytes.Equal(changed, content) {
		t.Fatal("there is nothing in the file that could be changed")
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}

	code, out, stderr := run(t, nil, "audit", "verify", "--dev", "--data-dir", s.dir)
	if code != 1 || !strings.Contains(out, "BROKEN: 1 problem(s)") || !strings.Contains(out, "was altered after it was recorded") {
		t.Errorf("exit code %d\n%s%s", code, out, stderr)
	}
}
