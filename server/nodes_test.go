package main

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/testkit"
)

// node starts one of several servers on the same PostgreSQL.
func (i installation) node(t *testing.T, env []string, admin profile) *server {
	t.Helper()
	s := start(t, env, "serve", "--config", i.file)
	_, address, found := strings.Cut(strings.TrimSpace(s.stdout.String()), " on ")
	if !found {
		t.Fatalf("the server does not tell its address: %q", s.stdout.String())
	}
	s.profile = admin
	s.profile.Issuer = "https://" + address
	return s
}

// twoNodes are two servers on one fresh PostgreSQL, with one administrator;
// env is what further commands on it need.
func (i installation) twoNodes(t *testing.T) (here, there *server, env []string) {
	t.Helper()
	env = []string{"MARQUE_DATABASE_URL=" + testkit.Postgres(t)}
	i.succeeds(t, "master-key", "generate")
	secret := filepath.Join(i.dir, "secret")
	code, out, stderr := run(t, env, "bootstrap-admin", "--config", i.file, "--out", secret)
	if code != 0 {
		t.Fatalf("bootstrap-admin: %s%s", out, stderr)
	}
	admin := profile{
		CAFile: filepath.Join(i.dir, "dev", "ca.pem"), ClientSecretFile: secret,
		ClientID: regexp.MustCompile(`sa_[0-9a-z]{26}`).FindString(out),
	}
	return i.node(t, env, admin), i.node(t, env, admin), env
}

func TestTwoNodesOnOnePostgreSQL(t *testing.T) {
	t.Parallel()
	i := install(t)
	here, there, env := i.twoNodes(t)
	hereClient, thereClient := here.client(t), there.client(t)

	// What one node does counts at the other: its tokens at once, ...
	token := here.adminToken(t, hereClient)
	var agent struct{ ID string }
	if status := there.call(t, thereClient, token, http.MethodPost, "/v1/service-accounts", `{"name":"agent","owner":"alice"}`, &agent); status != http.StatusCreated {
		t.Fatalf("create at the other node: %d", status)
	}
	var issued struct {
		ClientSecret string `json:"client_secret"`
	}
	there.call(t, thereClient, token, http.MethodPost, "/v1/service-accounts/"+agent.ID+"/client-secrets", "", &issued)
	// ... an account and a secret that were made a moment ago, ...
	role := "/v1/service-accounts/" + agent.ID + "/roles/role_00000000000000000000000002"
	if status := there.call(t, thereClient, token, http.MethodPut, role, "", nil); status != http.StatusOK {
		t.Fatalf("assign: %d", status)
	}
	agentToken := here.token(t, hereClient, agent.ID, issued.ClientSecret)
	if status := here.call(t, hereClient, agentToken, http.MethodGet, "/v1/whoami", "", nil); status != http.StatusOK {
		t.Fatalf("whoami: %d", status)
	}
	// ... and an end within a second.
	if status := there.call(t, thereClient, token, http.MethodPost, "/v1/service-accounts/"+agent.ID+"/disable", "", nil); status != http.StatusOK {
		t.Fatalf("disable: %d", status)
	}
	deadline := time.After(10 * time.Second) // a second, on a machine that does nothing else
	for here.call(t, hereClient, agentToken, http.MethodGet, "/v1/whoami", "", nil) != http.StatusUnauthorized {
		select {
		case <-deadline:
			t.Fatal("the other node still accepts a token of a disabled account")
		case <-time.After(20 * time.Millisecond):
		}
	}

	here.stop(t)
	there.stop(t)
	code, out, stderr := run(t, env, "audit", "verify", "--config", i.file)
	if code != 0 || !strings.Contains(out, "not yet under a checkpoint: 0") {
		t.Errorf("audit verify: exit code %d\n%s%s", code, out, stderr)
	}
}
