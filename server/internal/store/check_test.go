package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestCheckFindsWhatWasTamperedWith(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ query, want string }{
		"event removed":       {"DELETE FROM audit_events WHERE chain = '%s' AND seq = 3", "missing"},
		"end cut off":         {"DELETE FROM audit_events WHERE chain = '%s' AND seq = 7", "cut off"},
		"column altered":      {"UPDATE audit_events SET actor = 'x' WHERE chain = '%s' AND seq = 3", "column"},
		"head set back":       {"UPDATE audit_chains SET seq = 4 WHERE id = '%s'", "head"},
		"chain removed":       {"DELETE FROM audit_chains WHERE id = '%s'", "list of chains"},
		"secret of the dead":  {"UPDATE service_accounts SET deleted_at = 1 WHERE id <> '%s'", "living secret"},
		"key of the dead":     {"UPDATE service_accounts SET deleted_at = 1 WHERE id <> '%s'", "living API key"},
		"list of no list":     {"UPDATE api_keys SET restricted = FALSE WHERE id <> '%s'", "not restricted"},
		"list of the dead":    {"UPDATE api_keys SET deleted_at = 1 WHERE id <> '%s'", "deleted, missing"},
		"change removed":      {"DELETE FROM changes WHERE id = (SELECT MAX(id) - 1 FROM changes) AND kind <> '%s'", "gap"},
		"no active key":       {"INSERT INTO signing_keys VALUES ('%s', 'token', 'ES256', 'retired', '', 1, '', '', 1, 1, 1, 1, 1)", "active"},
		"secret kept":         {"INSERT INTO idempotency_keys SELECT service_account_id, 'o', '%s', mac, id, '{}', 1 FROM client_secrets", "text of a secret"},
		"no prepared key":     {"INSERT INTO signing_keys VALUES ('%s', 'token', 'ES256', 'active', '', 1, '', '', 1, 1, 0, 0, 1)", "prepared"},
		"a revoked key back":  {"INSERT INTO signing_keys VALUES ('%s', 'checkpoint', 'ES256', 'active', '', 1, '', '', 1, 1, 1, 1, 1)", "came back"},
		"no key at all":       {"INSERT INTO signing_keys VALUES ('%s', 'token', 'EdDSA', 'prepared', '', 1, '', '', 1, 0, 0, 0, 1)", "whose algorithm"},
		"default out of thin": {"UPDATE service_accounts SET default_resource_server = '%s'", "default"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testkit.Databases(t, func(t *testing.T, url string) {
				s := testkit.Open(t, url, clock.System())
				a := newAccount(t, s, "kept")
				newSecret(t, s, a.ID)
				rs, _ := newAPI(t, s, "api", "x:read")
				newKey(t, s, a.ID, identity.RolePermission{ResourceServerID: rs.ID, Permission: "x:read"})
				for range 2 {
					if err := s.Record(t.Context(), issuance(s, a.ID)); err != nil {
						t.Fatal(err)
					}
				}
				check(t, s)
				if err := s.Exec(t.Context(), fmt.Sprintf(c.query, s.AuditChain())); err != nil {
					t.Fatal(err)
				}
				if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("the check says %v", err)
				}
			})
		})
	}
}

func TestCheckpointsComeBackInOrder(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		maintain := func(fn func(m *store.Maintenance) error) error { return s.Maintain(t.Context(), fn) }
		for n := range 3 {
			if err := maintain(func(m *store.Maintenance) error {
				heads, err := m.Heads(t.Context(), testkit.Start())
				if err != nil {
					return err
				}
				if len(heads) != 1 || heads[0].Chain != s.AuditChain() || heads[0].Seq != 1 {
					t.Errorf("heads %v", heads)
				}
				last, err := m.LastCheckpoint(t.Context())
				if err != nil || last.Seq != int64(n) {
					t.Errorf("last %+v, %v", last, err)
				}
				return m.InsertCheckpoint(t.Context(), checkpointAfter(last, heads))
			}); err != nil {
				t.Fatal(err)
			}
		}
		wantKind(t, maintain(func(m *store.Maintenance) error {
			return m.InsertCheckpoint(t.Context(), checkpointAfter(audit.SignedCheckpoint{Seq: 1}, nil))
		}), fault.KindConflict)
		next := int64(1)
		view(t, s, func(r *store.Reader) error {
			return r.Checkpoints(t.Context(), func(c audit.SignedCheckpoint) error {
				if c.Seq != next || c.Signed != "signed" || c.Hash.IsZero() {
					t.Errorf("checkpoint %+v", c)
				}
				next++
				return nil
			})
		})
		if next != 4 {
			t.Errorf("%d checkpoints", next-1)
		}
	})
}

func checkpointAfter(last audit.SignedCheckpoint, heads []audit.Head) audit.SignedCheckpoint {
	c := audit.NewCheckpoint(last, testkit.Start(), heads)
	return c.Sealed("signed")
}
