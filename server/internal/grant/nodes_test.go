package grant

import (
	"context"
	"testing"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// A second is promised. In fact an issuance reads what other nodes have changed
// before it commits, so that the first one after the change has it already.
func TestAnotherNodeIssuesWhatTheRolesGiveNow(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	here := newWorld(t, url)
	there := here.otherNode(url)
	issued := func(params ...string) (string, error) {
		got, err := there.endpoint.Issue(t.Context(), there.request(params...))
		if err != nil {
			return "", err
		}
		return got.Scope, nil
	}
	before, err := issued()
	here.must(err)
	if before != "invoices:read invoices:write" {
		t.Fatalf("before: %q", before)
	}
	account := func() (a *identity.ServiceAccount) {
		here.must(here.store.View(t.Context(), func(r *store.Reader) (err error) {
			a, err = r.ServiceAccount(t.Context(), here.id)
			return err
		}))
		return a
	}
	was := account()
	here.change(audit.ResourceServerUpdated, func(ctx context.Context, tx *store.Tx) error {
		rs, err := tx.ResourceServer(ctx, here.api.ID)
		if err != nil {
			return err
		}
		return tx.ChangePermissions(ctx, rs, store.PermissionChanges{
			Rename: []identity.Renaming{{From: "invoices:read", To: "invoices:view"}}, Remove: []string{"invoices:write"},
		})
	})
	if after, err := issued(); err != nil || after != "invoices:view" {
		t.Errorf("after the permissions were changed: %q, %v", after, err)
	}
	if _, err := issued("scope", "invoices:read"); !fault.Is(err, fault.CodeInvalidScope) {
		t.Errorf("by its old name: %v", err)
	}
	here.change(audit.RoleDeleted, func(ctx context.Context, tx *store.Tx) error {
		assigned, _, err := tx.Assignments(ctx, here.id, store.AssignmentFilter{}, store.Page{Size: 1})
		if err != nil {
			return err
		}
		role, err := tx.Role(ctx, assigned[0].RoleID)
		if err != nil {
			return err
		}
		return tx.DeleteRole(ctx, role)
	})
	if after, err := issued(); !fault.Is(err, fault.CodeInvalidTarget) {
		t.Errorf("after the role was deleted: %q, %v", after, err)
	}
	if now := account(); now.Version != was.Version || now.Gen != was.Gen || !now.UpdatedAt.Equal(was.UpdatedAt) {
		t.Errorf("the account was written: %+v", now)
	}
}
