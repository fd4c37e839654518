package directory_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// renaming pairs names: old, new, old, new.
func renaming(names ...string) []identity.Renaming {
	var out []identity.Renaming
	for i := 0; i < len(names); i += 2 {
		out = append(out, identity.Renaming{From: names[i], To: names[i+1]})
	}
	return out
}

func (w *world) permissionChange(by string, in directory.PermissionChanges) (*directory.PermissionChangeReport, error) {
	return w.ChangePermissions(w.ctx, w.admin, w.meta, by, nil, in)
}

func TestAPreviewIsWhatThenHappens(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "a", "b", "c", "d", "e")
		w.clock.Advance(time.Millisecond)
		other := w.api("letters", "b")
		_, err := w.UpdateResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, directory.ResourceServerPatch{
			Permissions: directory.PatchTo([]identity.Permission{{Name: "a", Description: "reads"}, {Name: "b"}, {Name: "c"}, {Name: "d"}, {Name: "e"}}),
		})
		w.must(err)
		var roles []*identity.Role
		for _, p := range [][]identity.RolePermission{
			append(at(api.ID, "a", "b", "e"), at(other.ID, "b")...), at(api.ID, "b", "c"), at(api.ID, "d"), at(api.ID, "e"), at(api.ID, "a"),
		} {
			w.clock.Advance(time.Millisecond)
			roles = append(roles, w.role(fmt.Sprintf("role-%d", len(roles)), p))
		}
		// The assignments by account: the role and the minutes until it ends.
		var accounts []*identity.ServiceAccount
		for i, assigned := range []map[int]int{{0: 0}, {0: 1, 1: 0}, {1: 1}, {0: 60, 1: 0}, {2: 0, 3: 0}, {4: 0}, {}} {
			w.clock.Advance(time.Millisecond)
			a := w.account(fmt.Sprintf("agent-%d", i))
			for role, minutes := range assigned {
				var end time.Time
				if minutes > 0 {
					end = w.clock.Now().Add(time.Duration(minutes) * time.Minute)
				}
				w.assign(a.ID, roles[role].ID, end)
			}
			accounts = append(accounts, a)
		}
		_, err = w.DisableServiceAccount(w.ctx, w.admin, w.meta, accounts[3].ID) // it may come back
		w.must(err)
		w.clock.Advance(2 * time.Minute)
		held := map[string][]string{}
		for _, a := range accounts {
			held[a.ID] = w.holds(a.ID, api)
		}

		in := directory.PermissionChanges{Rename: renaming("a", "z", "d", "b2"), Remove: []string{"b", "c"}, DryRun: true}
		from, before := len(w.events()), w.accounts()
		preview, err := w.permissionChange(api.ID, in)
		w.must(err)
		if got := w.happened(from); len(got) != 0 {
			t.Errorf("a preview was recorded: %v", got)
		}
		now, err := w.GetResourceServer(w.ctx, w.admin, api.ID)
		w.must(err)
		if len(now.Permissions) != 5 || now.Version != preview.ResourceServer.Version || preview.Applied || w.roleVersion(roles[0].ID) != roles[0].Version {
			t.Errorf("a preview changed something: %+v", now)
		}
		for _, a := range accounts {
			if !slices.Equal(held[a.ID], w.holds(a.ID, api)) {
				t.Errorf("a preview took something from %s", a.Name)
			}
		}

		in.DryRun = false
		done, err := w.permissionChange(api.ID, in)
		w.must(err)
		same := cmp.Options{
			cmpopts.IgnoreFields(directory.PermissionChangeReport{}, "Applied"),
			cmpopts.IgnoreFields(identity.ResourceServer{}, "Version", "UpdatedAt"), cmpopts.EquateEmpty(),
		}
		if diff := cmp.Diff(preview, done, same); diff != "" {
			t.Errorf("the preview and what happened differ: %s", diff)
		}
		if !done.Applied || done.ResourceServer.Version != now.Version+1 {
			t.Errorf("%+v", done)
		}
		wantRoles := []directory.ChangedRole{
			{ID: roles[0].ID, Name: "role-0", Renamed: renaming("a", "z"), Removed: []string{"b"}},
			{ID: roles[1].ID, Name: "role-1", Removed: []string{"b", "c"}},
			{ID: roles[2].ID, Name: "role-2", Renamed: renaming("d", "b2")},
			{ID: roles[4].ID, Name: "role-4", Renamed: renaming("a", "z")},
		}
		if diff := cmp.Diff(wantRoles, done.Roles); diff != "" {
			t.Error(diff)
		}
		wantLosses := directory.Losses{Count: 5, First: []directory.Loss{
			{ServiceAccountID: accounts[0].ID, AccountName: "agent-0", Permission: "b", RoleNames: []string{"role-0"}},
			{ServiceAccountID: accounts[1].ID, AccountName: "agent-1", Permission: "b", RoleNames: []string{"role-1"}},
			{ServiceAccountID: accounts[1].ID, AccountName: "agent-1", Permission: "c", RoleNames: []string{"role-1"}},
			{ServiceAccountID: accounts[3].ID, AccountName: "agent-3", Permission: "b", RoleNames: []string{"role-0", "role-1"}},
			{ServiceAccountID: accounts[3].ID, AccountName: "agent-3", Permission: "c", RoleNames: []string{"role-1"}},
		}}
		if diff := cmp.Diff(wantLosses, done.Losses); diff != "" {
			t.Error(diff)
		}
		// The report against what each account really holds.
		for _, a := range accounts {
			var want []string
			for _, p := range held[a.ID] {
				if n := map[string]string{"a": "z", "d": "b2"}[p]; n != "" {
					p = n
				}
				lost := slices.ContainsFunc(done.Losses.First, func(l directory.Loss) bool { return l.ServiceAccountID == a.ID && l.Permission == p })
				if !lost {
					want = append(want, p)
				}
			}
			slices.Sort(want)
			if got := w.holds(a.ID, api); !slices.Equal(want, got) {
				t.Errorf("%s may %v, want %v", a.Name, got, want)
			}
		}
		got, err := w.GetResourceServer(w.ctx, w.admin, api.ID)
		w.must(err)
		if diff := cmp.Diff([]identity.Permission{{Name: "b2"}, {Name: "e"}, {Name: "z", Description: "reads"}}, got.Permissions); diff != "" {
			t.Error(diff)
		}
		first, err := w.GetRole(w.ctx, w.admin, roles[0].ID)
		w.must(err)
		if diff := cmp.Diff(append(at(api.ID, "e", "z"), at(other.ID, "b")...), first.Permissions); diff != "" || first.Version != roles[0].Version+1 {
			t.Errorf("version %d, %s", first.Version, diff)
		}
		if w.roleVersion(roles[3].ID) != roles[3].Version {
			t.Error("a role that grants none of them has a new version")
		}
		if diff := cmp.Diff(before, w.accounts(), cmp.Comparer(sameAccount)); diff != "" {
			t.Errorf("accounts were written: %s", diff)
		}
		want := []string{fmt.Sprintf("%s  %s", audit.ResourceServerUpdated, api.ID)}
		for _, r := range wantRoles {
			want = append(want, fmt.Sprintf("%s  %s", audit.RoleUpdated, r.ID))
		}
		if diff := cmp.Diff(want, w.happened(from)); diff != "" {
			t.Error(diff)
		}
		events := w.events()[from:]
		if d := events[0].Details; d["permissions_renamed"] != "a=z d=b2" || d["permissions_added"] != "z b2" || d["permissions_removed"] != "a d b c" {
			t.Errorf("recorded of the resource server: %v", d)
		}
		if d := events[1].Details; d["permissions_renamed"] != "a=z" || d["permissions_added"] != api.ID+"/z" || d["permissions_removed"] != api.ID+"/a "+api.ID+"/b" {
			t.Errorf("recorded of the role: %v", d)
		}
	})
}

func TestPermissionChangesAreRefusedWithTheMemberNamed(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "a", "b", "c")
		many := make([]string, identity.MaxPermissions+1)
		for i := range many {
			many[i] = fmt.Sprintf("p%d", i)
		}
		from := len(w.events())
		for name, c := range map[string]struct {
			in   directory.PermissionChanges
			want []string
		}{
			"nothing":                {directory.PermissionChanges{}, []string{""}},
			"only a dry run":         {directory.PermissionChanges{DryRun: true}, []string{""}},
			"too many":               {directory.PermissionChanges{Remove: many}, []string{""}},
			"not declared":           {directory.PermissionChanges{Rename: renaming("x", "y"), Remove: []string{"a", "z"}}, []string{"/rename/0/from", "/remove/1"}},
			"declared already":       {directory.PermissionChanges{Rename: renaming("a", "b")}, []string{"/rename/0/to"}},
			"a swap":                 {directory.PermissionChanges{Rename: renaming("a", "b", "b", "a")}, []string{"/rename/1/from", "/rename/1/to"}},
			"itself":                 {directory.PermissionChanges{Rename: renaming("a", "a")}, []string{"/rename/0/to"}},
			"two to one":             {directory.PermissionChanges{Rename: renaming("a", "x", "b", "x")}, []string{"/rename/1/to"}},
			"one to two":             {directory.PermissionChanges{Rename: renaming("a", "x", "a", "y")}, []string{"/rename/1/from"}},
			"renamed and removed":    {directory.PermissionChanges{Rename: renaming("a", "x"), Remove: []string{"a"}}, []string{"/remove/0"}},
			"the name of a removed":  {directory.PermissionChanges{Rename: renaming("a", "b"), Remove: []string{"b"}}, []string{"/remove/0"}},
			"removed twice":          {directory.PermissionChanges{Remove: []string{"a", "a"}}, []string{"/remove/1"}},
			"no name":                {directory.PermissionChanges{Rename: renaming("a", "two words")}, []string{"/rename/0/to"}},
			"no name that was there": {directory.PermissionChanges{Rename: renaming("", "x"), Remove: []string{"\x00"}}, []string{"/rename/0/from", "/remove/0"}},
		} {
			for _, dry := range []bool{true, false} {
				c.in.DryRun = c.in.DryRun || dry
				_, err := w.permissionChange(api.ID, c.in)
				f := fault.From(err)
				if f == nil || f.Code != fault.CodeInvalidRequest {
					t.Errorf("%s: %v", name, err)
					continue
				}
				var got []string
				for _, field := range f.Fields {
					got = append(got, field.Pointer)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
		}
		_, err := w.permissionChange(identity.ManagementResourceServerID, directory.PermissionChanges{Remove: []string{identity.PermAuditRead}})
		w.refused(err, fault.CodeBuiltIn)
		_, err = w.permissionChange(identity.NewID(identity.PrefixResourceServer, w.clock.Now()), directory.PermissionChanges{Remove: []string{"a"}})
		w.refused(err, fault.CodeNotFound)
		if got := w.happened(from); len(got) != 0 {
			t.Errorf("refused, and recorded as done: %v", got)
		}
	})
}

func TestOfPermissionChangesWithOneIfMatchOneWins(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "a")
		role := w.role("clerk", at(api.ID, "a"))
		const writers = 32
		errs := make([]error, writers)
		var group sync.WaitGroup
		for i := range writers {
			group.Go(func() {
				in := directory.PermissionChanges{Rename: renaming("a", fmt.Sprintf("a%d", i))}
				_, errs[i] = w.ChangePermissions(w.ctx, w.admin, w.meta, api.ID, &api.Version, in)
			})
		}
		group.Wait()
		var won []string
		for i, err := range errs {
			if err == nil {
				won = append(won, fmt.Sprintf("a%d", i))
			} else if !fault.Is(err, fault.CodePreconditionFailed) {
				t.Errorf("a loser got %v", err)
			}
		}
		got, err := w.GetRole(w.ctx, w.admin, role.ID)
		w.must(err)
		if diff := cmp.Diff(at(api.ID, won...), got.Permissions); diff != "" || len(won) != 1 {
			t.Errorf("%v won: %s", won, diff)
		}
	})
}

// A name that is granted may mean more to an API than the one that it replaces.
func TestRenamingWhatIsGrantedNeedsTheRightToGrantAny(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read", "invoices:pay", "invoices:unused")
		role := w.role("reader", at(api.ID, "invoices:read"))
		writes := w.role("api-owner", management(identity.PermResourceServersWrite))
		any := w.role("any", management(identity.PermRolesGrantAny))
		owner := w.agent("owner", writes.ID, role.ID)
		granter := w.agent("granter", writes.ID, any.ID, role.ID)
		change := func(who string, in directory.PermissionChanges) error {
			caller := map[string]func() error{
				"owner": func() error { _, err := w.ChangePermissions(w.ctx, owner, w.meta, api.ID, nil, in); return err },
				"narrow": func() error {
					_, err := w.ChangePermissions(w.ctx, narrowed(granter, identity.PermResourceServersWrite), w.meta, api.ID, nil, in)
					return err
				},
				"granter": func() error { _, err := w.ChangePermissions(w.ctx, granter, w.meta, api.ID, nil, in); return err },
			}
			return caller[who]()
		}
		// Removing is free, and so is renaming what nobody has.
		w.must(change("owner", directory.PermissionChanges{Remove: []string{"invoices:pay"}}))
		w.must(change("owner", directory.PermissionChanges{Rename: renaming("invoices:unused", "invoices:spare")}))
		take := directory.PermissionChanges{Rename: renaming("invoices:read", "invoices:pay")}
		for _, dry := range []bool{true, false} {
			take.DryRun = dry
			for _, who := range []string{"owner", "narrow"} {
				from := len(w.events())
				if err := change(who, take); !fault.Is(err, fault.CodeGrantExceedsCaller) || !strings.Contains(err.Error(), "invoices:pay") {
					t.Errorf("%s: %v", who, err)
				}
				if got := w.happened(from); len(got) != 0 {
					t.Errorf("refused, and recorded as done: %v", got)
				}
			}
		}
		if !slices.Equal(w.holds(owner.ClientID, api), []string{"invoices:read"}) {
			t.Errorf("the owner may %v", w.holds(owner.ClientID, api))
		}
		w.must(change("granter", take))
		if !slices.Equal(w.holds(owner.ClientID, api), []string{"invoices:pay"}) {
			t.Errorf("the owner may %v", w.holds(owner.ClientID, api))
		}
	})
}

func TestLossesAreCountedAndTheFirstHundredNamed(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		var names []string
		for i := range 60 {
			names = append(names, fmt.Sprintf("p%02d", i))
		}
		api := w.api("invoices", names...)
		role := w.role("all", at(api.ID, names...))
		first := w.account("first")
		w.clock.Advance(time.Millisecond)
		second := w.account("second")
		w.assign(second.ID, role.ID, time.Time{})
		w.assign(first.ID, role.ID, time.Time{})
		in := directory.PermissionChanges{Remove: names, DryRun: true}
		got, err := w.permissionChange(api.ID, in)
		w.must(err)
		if got.Losses.Count != 120 || len(got.Losses.First) != 100 {
			t.Fatalf("%d losses, %d named", got.Losses.Count, len(got.Losses.First))
		}
		for i, l := range got.Losses.First {
			account := map[bool]string{true: first.ID, false: second.ID}[i < 60]
			if l.ServiceAccountID != account || l.Permission != names[i%60] || !slices.Equal(l.RoleNames, []string{"all"}) {
				t.Fatalf("loss %d is %+v", i, l)
			}
		}
		w.LimitCascade(59)
		_, err = w.permissionChange(api.ID, in)
		w.refused(err, fault.CodeLimitReached)
		w.LimitCascade(60)
		_, err = w.permissionChange(api.ID, in)
		w.must(err)
	})
}

func TestAPatchThatWouldTakeWhatIsGrantedNamesTheOtherWay(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "a", "b", "c")
		one := w.role("one", at(api.ID, "a", "b"))
		w.clock.Advance(time.Millisecond)
		two := w.role("two", at(api.ID, "b"))
		_, err := w.UpdateResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, directory.ResourceServerPatch{Permissions: directory.PatchNull[[]identity.Permission]()})
		w.refused(err, fault.CodeInUse)
		f := fault.From(err)
		if !strings.Contains(f.Detail, "permission a, b is used by 2 role(s)") || !strings.Contains(f.Detail, "resource_servers.change_permissions") {
			t.Error(f.Detail)
		}
		want := &fault.InUse{Count: 2, First: []fault.User{{Kind: "role", ID: one.ID, Name: "one"}, {Kind: "role", ID: two.ID, Name: "two"}}}
		if diff := cmp.Diff(want, f.InUse); diff != "" {
			t.Error(diff)
		}
	})
}
