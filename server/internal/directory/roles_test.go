package directory_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

func TestWhatIsBuiltInDoesNotChange(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for _, role := range identity.BuiltInRoles() {
			_, err := w.UpdateRole(w.ctx, w.admin, w.meta, role.ID, nil, directory.RolePatch{Description: directory.PatchTo("x")})
			w.refused(err, fault.CodeBuiltIn)
			w.refused(w.DeleteRole(w.ctx, w.admin, w.meta, role.ID, nil, false), fault.CodeBuiltIn)
		}
		id := identity.ManagementResourceServerID
		_, err := w.UpdateResourceServer(w.ctx, w.admin, w.meta, id, nil, directory.ResourceServerPatch{Introspectors: directory.PatchTo([]string{w.admin.ClientID})})
		w.refused(err, fault.CodeBuiltIn)
		w.refused(w.DeleteResourceServer(w.ctx, w.admin, w.meta, id, nil, false), fault.CodeBuiltIn)
		_, err = w.CreateResourceServer(w.ctx, w.admin, w.meta, directory.NewResourceServer{Name: "mine", Identifier: identity.ManagementIdentifier})
		w.refused(err, fault.CodeNameTaken)
	})
}

func TestWhatIsInUseStaysAndSaysByWhom(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "a", "b", "c")
		role := w.role("clerk", at(api.ID, "a", "b"))
		var ids []string
		for i := range 22 {
			w.clock.Advance(time.Millisecond)
			a := w.account(fmt.Sprintf("clerk-%d", i))
			w.assign(a.ID, role.ID, time.Time{})
			ids = append(ids, a.ID)
		}
		inUse := func(err error, count string, ids []string, not string) {
			t.Helper()
			w.refused(err, fault.CodeInUse)
			detail := fault.From(err).Detail
			if !strings.Contains(detail, count) || !strings.Contains(detail, strings.Join(ids, ", ")) || not != "" && strings.Contains(detail, not) {
				t.Errorf("detail %q", detail)
			}
		}
		inUse(w.DeleteRole(w.ctx, w.admin, w.meta, role.ID, nil, false), "22", ids[:20], ids[20])
		inUse(w.DeleteResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, false), "1", []string{role.ID}, "")
		permissions := func(names ...string) directory.ResourceServerPatch {
			var p []identity.Permission
			for _, n := range names {
				p = append(p, identity.Permission{Name: n})
			}
			return directory.ResourceServerPatch{Permissions: directory.PatchTo(p)}
		}
		_, err := w.UpdateResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, permissions("a", "c"))
		inUse(err, "b is used by 1", []string{role.ID}, "")
		_, err = w.UpdateResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, permissions("d", "b", "a"))
		w.must(err)

		_, err = w.UpdateRole(w.ctx, w.admin, w.meta, role.ID, nil, directory.RolePatch{Permissions: directory.PatchNull[[]identity.RolePermission]()})
		w.must(err)
		in := directory.ServiceAccountPatch{DefaultResourceServer: directory.PatchTo(api.ID)}
		_, err = w.UpdateServiceAccount(w.ctx, w.admin, w.meta, ids[0], nil, in)
		w.must(err)
		inUse(w.DeleteResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, false), "1", ids[:1], "")
		w.must(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, ids[0], nil))
		w.must(w.DeleteResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, false))
		for _, id := range ids[1:] {
			w.must(w.UnassignRole(w.ctx, w.admin, w.meta, id, role.ID, nil))
		}
		w.must(w.DeleteRole(w.ctx, w.admin, w.meta, role.ID, nil, false))
		w.refused(w.UnassignRole(w.ctx, w.admin, w.meta, ids[1], role.ID, nil), fault.CodeNotFound)
	})
}

func TestRolesGrantOnlyWhatIsDeclared(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "a", "b")
		nowhere := identity.NewID(identity.PrefixResourceServer, w.clock.Now())
		_, err := w.CreateRole(w.ctx, w.admin, w.meta, directory.NewRole{
			Name:        "r",
			Permissions: append(at(api.ID, "a", "z"), identity.RolePermission{ResourceServerID: nowhere, Permission: "a"}),
		})
		var got []string
		for _, f := range fault.From(err).Fields {
			got = append(got, f.Pointer)
		}
		if diff := cmp.Diff([]string{"/permissions/1/permission", "/permissions/2/resource_server"}, got); diff != "" {
			t.Error(diff)
		}
		role := w.role("r", at(api.ID, "b", "a"))
		if diff := cmp.Diff(at(api.ID, "a", "b"), role.Permissions); diff != "" {
			t.Error(diff)
		}
		_, err = w.CreateRole(w.ctx, w.admin, w.meta, directory.NewRole{Name: "r"})
		w.refused(err, fault.CodeNameTaken)
		_, err = w.UpdateRole(w.ctx, w.admin, w.meta, role.ID, nil, directory.RolePatch{Permissions: directory.PatchTo(at(api.ID, "a", "z"))})
		if f := fault.From(err); len(f.Fields) != 1 || f.Fields[0].Pointer != "/permissions/1/permission" {
			t.Errorf("%+v", f)
		}
		same, err := w.UpdateRole(w.ctx, w.admin, w.meta, role.ID, &role.Version, directory.RolePatch{Permissions: directory.PatchTo(at(api.ID, "b", "a"))})
		w.must(err)
		if same.Version != role.Version {
			t.Error("the same permissions in another order made a new version")
		}
		_, err = w.UpdateRole(w.ctx, w.admin, w.meta, role.ID, nil, directory.RolePatch{Name: directory.PatchNull[string]()})
		w.refused(err, fault.CodeInvalidRequest)
	})
}

func TestAssignmentsCarryAnEnd(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "a")
		role, a := w.role("clerk", at(api.ID, "a")), w.account("a")
		end := w.clock.Now().Add(time.Hour)
		given, err := w.AssignRole(w.ctx, w.admin, w.meta, a.ID, role.ID, directory.NewAssignment{ExpiresAt: end})
		w.must(err)
		if given.RoleName != "clerk" || !given.ExpiresAt.Equal(end) {
			t.Errorf("%+v", given)
		}
		_, err = w.AssignRole(w.ctx, w.admin, w.meta, a.ID, role.ID, directory.NewAssignment{ExpiresAt: w.clock.Now()})
		if f := fault.From(err); len(f.Fields) != 1 || f.Fields[0].Pointer != "/expires_at" {
			t.Errorf("end in the past: %+v", f)
		}
		holds := func() int {
			p, err := w.store.Principal(w.ctx, a.ID)
			w.must(err)
			held, _ := p.Grants[api.Identifier].At(w.clock.Now())
			return len(held)
		}
		if holds() != 1 {
			t.Error("an assignment gives nothing")
		}
		w.clock.Advance(time.Hour)
		if holds() != 0 {
			t.Error("an assignment outlives its end")
		}
		w.assign(a.ID, role.ID, time.Time{})
		if holds() != 1 {
			t.Error("a renewed assignment gives nothing")
		}
		p, err := w.ListAssignments(w.ctx, w.admin, a.ID, directory.AssignmentFilter{}, directory.PageRequest{})
		w.must(err)
		if len(p.Items) != 1 || !p.Items[0].ExpiresAt.IsZero() || !p.Items[0].CreatedAt.Equal(given.CreatedAt) {
			t.Errorf("%+v", p)
		}
	})
}

func TestResourceServerPatchAndReferences(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		rs, reader := w.api("invoices", "b", "a"), w.account("reader")
		if rs.Permissions[0].Name != "a" || rs.SigningAlg != "ES256" {
			t.Errorf("%+v", rs)
		}
		for _, in := range []directory.NewResourceServer{
			{Name: "invoices", Identifier: "https://other.example"}, {Name: "other", Identifier: rs.Identifier},
		} {
			_, err := w.CreateResourceServer(w.ctx, w.admin, w.meta, in)
			w.refused(err, fault.CodeNameTaken)
		}
		other := w.api("other")
		_, err := w.UpdateResourceServer(w.ctx, w.admin, w.meta, other.ID, nil, directory.ResourceServerPatch{Name: directory.PatchTo("invoices")})
		w.refused(err, fault.CodeNameTaken)

		nobody := identity.NewID(identity.PrefixServiceAccount, w.clock.Now())
		for pointer, in := range map[string]directory.ResourceServerPatch{
			"/introspectors/1":    {Introspectors: directory.PatchTo([]string{reader.ID, nobody})},
			"/introspectors/0":    {Introspectors: directory.PatchTo([]string{"reader"})},
			"/name":               {Name: directory.PatchNull[string]()},
			"/signing_alg":        {SigningAlg: directory.PatchTo("none")},
			"/token_lifetime_max": {TokenLifetimeMax: directory.PatchTo(time.Second)},
			"/permissions/0/name": {Permissions: directory.PatchTo([]identity.Permission{{Name: "a b"}})},
		} {
			_, err := w.UpdateResourceServer(w.ctx, w.admin, w.meta, rs.ID, nil, in)
			if f := fault.From(err); len(f.Fields) != 1 || f.Fields[0].Pointer != pointer {
				t.Errorf("%s: %+v", pointer, f)
			}
		}
		got, err := w.UpdateResourceServer(w.ctx, w.admin, w.meta, rs.ID, &rs.Version, directory.ResourceServerPatch{
			Introspectors: directory.PatchTo([]string{reader.ID}), TokenLifetimeMax: directory.PatchTo(time.Hour),
			Permissions: directory.PatchTo([]identity.Permission{{Name: "a", Description: "reads"}, {Name: "c"}}),
		})
		w.must(err)
		if got.Version != rs.Version+1 || len(got.Introspectors) != 1 || got.Permissions[0].Description != "reads" || got.TokenLifetimeMax != time.Hour {
			t.Errorf("%+v", got)
		}
		w.must(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, reader.ID, nil))
		got, err = w.GetResourceServer(w.ctx, w.admin, rs.ID)
		w.must(err)
		if len(got.Introspectors) != 0 {
			t.Error("a deleted account is still an introspector")
		}
	})
}
