package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestPermissionsAreRenamedAndRemovedWhereverTheyStand(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		rs, role := newAPI(t, s, "api", "x:read", "x:write", "x:pay")
		other, same := newAPI(t, s, "other", "x:read", "x:write") // the same words elsewhere
		change := func(c store.PermissionChanges) error {
			return tryWrite(t, s, func(tx *store.Tx) error { return tx.ChangePermissions(ctx, rs, c) })
		}
		wantCode(t, change(store.PermissionChanges{Rename: []identity.Renaming{{From: "x:read", To: "x:write"}}}), fault.CodeNameTaken)
		wantCode(t, change(store.PermissionChanges{Rename: []identity.Renaming{{From: "x:read", To: "x\x00"}}}), fault.CodeInvalidRequest)
		if err := change(store.PermissionChanges{Rename: []identity.Renaming{{From: "x:read", To: "x:view"}}, Remove: []string{"x:pay"}}); err != nil {
			t.Fatal(err)
		}
		wantCode(t, change(store.PermissionChanges{Remove: []string{"x:write"}}), fault.CodePreconditionFailed) // of the version that was
		view(t, s, func(r *store.Reader) error {
			now, err := r.ResourceServer(ctx, rs.ID)
			want := []identity.Permission{{Name: "x:view", Description: "May x:read"}, {Name: "x:write", Description: "May x:write"}}
			if diff := cmp.Diff(want, now.Permissions); err != nil || diff != "" || now.Version != rs.Version+1 {
				t.Error(err, now.Version, diff)
			}
			got, err := r.Role(ctx, role.ID)
			granted := []identity.RolePermission{{ResourceServerID: rs.ID, Permission: "x:view"}, {ResourceServerID: rs.ID, Permission: "x:write"}}
			if diff := cmp.Diff(granted, got.Permissions); err != nil || diff != "" || got.Version != role.Version+1 {
				t.Error(err, got.Version, diff)
			}
			untouched, err := r.Role(ctx, same.ID)
			if diff := cmp.Diff(same, untouched); err != nil || diff != "" {
				t.Error(err, diff)
			}
			elsewhere, err := r.ResourceServer(ctx, other.ID)
			if diff := cmp.Diff(other, elsewhere); err != nil || diff != "" {
				t.Error(err, diff)
			}
			return nil
		})
		check(t, s)
	})
}
