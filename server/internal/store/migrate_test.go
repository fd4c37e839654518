package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/marque-id/marque/migrations"
	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func open(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Clock: clock.System(), MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return s
}

func TestMigrateTwiceDoesNothingTheSecondTime(t *testing.T) {
	t.Parallel()
	testkit.Empty(t, func(t *testing.T, url string) {
		s := open(t, url)
		if pending, err := s.Pending(t.Context()); err != nil || len(pending) == 0 {
			t.Fatalf("an empty database lacks %v, %v", pending, err)
		}
		for range 2 {
			if err := s.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			if pending, err := s.Pending(t.Context()); err != nil || len(pending) != 0 {
				t.Fatalf("after migrating: %v, %v", pending, err)
			}
		}
		if n := len(events(t, s, audit.Filter{Type: audit.SchemaMigrated})); n != 1 {
			t.Errorf("%d events of one migration", n)
		}
		check(t, s)
	})
}

func TestStepThatWasCommittedButNotNotedRunsAgain(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := open(t, url)
		if err := s.Exec(t.Context(), "DELETE FROM bun_migrations"); err != nil {
			t.Fatal(err)
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		check(t, s)
	})
}

func TestBuiltInsAreThereAndAreRestoredByAnUpgrade(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := open(t, url)
		for _, query := range []string{
			"DELETE FROM role_permissions WHERE role_id = '" + identity.RoleAuditorID + "' AND permission = '" + identity.PermAuditRead + "'",
			"UPDATE resource_server_permissions SET description = 'old words' WHERE name = '" + identity.PermAuditRead + "'",
			"DELETE FROM role_permissions WHERE permission = '" + identity.PermRolesGrantAny + "'",
			"DELETE FROM resource_server_permissions WHERE name = '" + identity.PermRolesGrantAny + "'",
		} {
			if err := s.Exec(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		view(t, s, func(r *store.Reader) error {
			rs, err := r.ResourceServer(t.Context(), identity.ManagementResourceServerID)
			if err != nil {
				return err
			}
			if len(rs.Permissions) != len(identity.ManagementPermissions()) || !rs.BuiltIn || rs.Identifier != identity.ManagementIdentifier {
				t.Errorf("management: %+v", rs)
			}
			for _, want := range identity.BuiltInRoles() {
				got, err := r.Role(t.Context(), want.ID)
				if err != nil {
					return err
				}
				if len(got.Permissions) != len(want.Permissions) || !got.BuiltIn || got.Name != want.Name {
					t.Errorf("role %s: %+v", want.Name, got)
				}
			}
			return nil
		})
		check(t, s)
	})
}

// Steps are never changed once released, so that what an older release wrote
// is what its columns say here.
func TestAnUpgradeKeepsEveryRow(t *testing.T) {
	t.Parallel()
	testkit.Empty(t, func(t *testing.T, url string) {
		s := open(t, url)
		if err := s.MigrateUpTo(t.Context(), "0001"); err != nil {
			t.Fatal(err)
		}
		if pending, err := s.Pending(t.Context()); err != nil || len(pending) == 0 || pending[0] != "0002_token_rate_limit" {
			t.Fatalf("after the first release: pending %v, %v", pending, err)
		}
		const columns = `id, name, display_name, description, kind, owner, labels, status, expires_at, token_lifetime,
			default_resource_server, allowed_networks, gen, version, created_at, updated_at, last_used_at, deleted_at`
		var ids []string
		for i := range 50 {
			a := account(fmt.Sprintf("agent-%d", i))
			ids = append(ids, a.ID)
			deleted := i % 10 / 9 * 1_700_000_000_000_009
			if err := s.Exec(t.Context(), "INSERT INTO service_accounts ("+columns+") VALUES (?, ?, ?, 'ünïcode', 'job', 'ops', ?, 'active', ?, 90000000, '', '192.0.2.0/24', 3, ?, 1700000000000001, 1700000000000002, 0, ?)",
				a.ID, a.Name, a.DisplayName, `{"n":"`+a.Name+`"}`, 4_000_000_000_000_000+i, i+1, deleted); err != nil {
				t.Fatal(err)
			}
			if err := s.Exec(t.Context(), "INSERT INTO client_secrets (id, service_account_id, hint, mac, expires_at, created_at, last_used_at, deleted_at) VALUES (?, ?, 'abcd', ?, 0, 1, 2, ?)",
				identity.NewID(identity.PrefixClientSecret, clock.System().Now()), a.ID, []byte(a.ID), deleted); err != nil {
				t.Fatal(err)
			}
		}
		queries := []string{
			"SELECT " + columns + " FROM service_accounts ORDER BY id",
			"SELECT id, service_account_id, hint, mac, expires_at, created_at, last_used_at, deleted_at FROM client_secrets ORDER BY id",
			"SELECT * FROM resource_server_permissions ORDER BY name", "SELECT * FROM role_permissions ORDER BY role_id, permission",
		}
		sums := func() (sums [][32]byte) {
			for _, query := range queries {
				sum, n, err := s.Sum(t.Context(), query)
				if err != nil || n == 0 {
					t.Fatalf("%s: %d rows, %v", query, n, err)
				}
				sums = append(sums, sum)
			}
			return sums
		}
		before := sums()
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, after := range sums() {
			if after != before[i] {
				t.Errorf("rows differ: %s", queries[i])
			}
		}
		view(t, s, func(r *store.Reader) error {
			a, err := r.ServiceAccount(t.Context(), ids[4])
			if err == nil && (a.TokenRateLimit != 0 || a.Version != 5 || a.Labels["n"] != "agent-4") {
				t.Errorf("read as %+v", a)
			}
			return err
		})
		write(t, s, func(tx *store.Tx) error {
			a, err := tx.ServiceAccount(t.Context(), ids[4])
			if err != nil {
				return err
			}
			a.TokenRateLimit = 60
			return tx.UpdateServiceAccount(t.Context(), a)
		})
		check(t, s)
	})
}

func TestNodesThatMigrateAtOnceAgree(t *testing.T) {
	t.Parallel()
	testkit.Empty(t, func(t *testing.T, url string) {
		nodes := []*store.Store{open(t, url)}
		if nodes[0].Dialect() == "postgres" {
			nodes = append(nodes, open(t, url), open(t, url))
		}
		var group sync.WaitGroup
		for _, s := range nodes {
			group.Go(func() {
				if err := s.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := len(events(t, nodes[0], audit.Filter{Type: audit.SchemaMigrated})); n != 1 {
			t.Errorf("%d events of one migration", n)
		}
		check(t, nodes[0])
	})
}

// childVariable holds what the test binary shall do as a child process.
const childVariable = "MARQUE_STORE_TEST_CHILD"

// TestChild is the body of the child processes of the tests here; on its own it
// tests nothing.
func TestChild(t *testing.T) {
	t.Parallel()
	what, url, _ := strings.Cut(os.Getenv(childVariable), " ")
	if what == "" {
		return
	}
	ready := func() {
		fmt.Println("ready")
		select {} // until killed
	}
	s := open(t, url)
	switch what {
	case "hold":
		ready()
	default:
		s.AtMigration(func(point string) {
			if strings.HasPrefix(point, what) {
				ready()
			}
		})
		t.Fatal(s.Migrate(t.Context()))
	}
}

// child starts the test binary again and returns once it is ready to be killed.
func child(t *testing.T, what, url string) (kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childVariable+"="+what+" "+url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasSuffix(lines.Text(), "ready") {
			return func() {
				_ = cmd.Process.Kill()
				_ = cmd.Wait() // killed: that is an error to it
			}
		}
	}
	t.Fatalf("the child ended early: %v", cmd.Wait())
	return nil
}

func TestMigrationSurvivesAKill(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"before", "after"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			testkit.Empty(t, func(t *testing.T, url string) {
				child(t, point, url)()
				s := open(t, url)
				if err := s.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				if pending, err := s.Pending(t.Context()); err != nil || len(pending) != 0 {
					t.Errorf("pending %v, %v", pending, err)
				}
				check(t, s)
			})
		})
	}
}

// What a kill inside the statements of a step leaves is nothing, as long as all of
// them are in one transaction: the name of its file says so to who runs it.
func TestEveryStepIsOneTransaction(t *testing.T) {
	t.Parallel()
	steps, err := migrations.Files.ReadDir(".")
	if err != nil || len(steps) == 0 {
		t.Fatal(steps, err)
	}
	for _, step := range steps {
		if !regexp.MustCompile(`^[0-9]{4}_[a-z_]+\.tx\.up\.sql$`).MatchString(step.Name()) {
			t.Errorf("%s is not run in a transaction", step.Name())
		}
	}
}

func TestSecondProcessOnOneSQLiteFileIsRefused(t *testing.T) {
	t.Parallel()
	url := testkit.SQLite(t)
	kill := child(t, "hold", url)
	_, err := store.Open(t.Context(), store.Options{URL: url, Clock: clock.System()})
	if err == nil || !strings.Contains(err.Error(), "another process uses") || !strings.Contains(err.Error(), ".lock") {
		t.Errorf("error is %v", err)
	}
	kill()
	s := testkit.Open(t, url, clock.System()) // the lock has gone with the process
	check(t, s)
	beside, err := store.Open(t.Context(), store.Options{URL: url, Clock: clock.System(), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = beside.Close(t.Context()) }()
	check(t, beside)
	if err := tryWrite(t, beside, func(*store.Tx) error { return nil }); err == nil {
		t.Error("written through a store that is open for reading")
	}
}
