package directory_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// happened reads the events from a place in the log on, as "type account subject".
func (w *world) happened(from int) []string {
	w.t.Helper()
	var out []string
	for _, e := range w.events()[from:] {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Type, e.AccountID, e.Subject)))
	}
	return out
}

// accounts reads all accounts whole, versions and times included.
func (w *world) accounts() []identity.ServiceAccount {
	w.t.Helper()
	var out []identity.ServiceAccount
	for ask := (directory.PageRequest{Size: 200}); ; {
		p, err := w.ListServiceAccounts(w.ctx, w.admin, directory.ServiceAccountFilter{}, ask)
		w.must(err)
		out = append(out, p.Items...)
		if ask.Token = p.NextToken; ask.Token == "" {
			return out
		}
	}
}

// holds is what an account may do at an API now.
func (w *world) holds(accountID string, api *identity.ResourceServer) []string {
	w.t.Helper()
	p, err := w.store.Principal(w.ctx, accountID)
	w.must(err)
	held, _ := p.Grants[api.Identifier].At(w.clock.Now())
	return held
}

// roleVersion reads the version of a role.
func (w *world) roleVersion(id string) int64 {
	w.t.Helper()
	r, err := w.GetRole(w.ctx, w.admin, id)
	w.must(err)
	return r.Version
}

func TestADeletedRoleIsTakenFromAllWhoHaveIt(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read", "invoices:pay")
		role, kept := w.role("payer", at(api.ID, "invoices:pay")), w.role("reader", at(api.ID, "invoices:read"))
		// It deletes what it may not grant, and what it has itself.
		cleaner := w.agent("cleaner", w.role("cleaner", management(identity.PermRolesWrite)).ID, role.ID)
		want := []string{fmt.Sprintf("%s %s %s", audit.RoleUnassigned, cleaner.ClientID, role.ID)}
		var ids []string
		for i, end := range []time.Time{{}, w.clock.Now().Add(time.Hour), w.clock.Now().Add(time.Minute)} {
			w.clock.Advance(time.Millisecond)
			a := w.account(fmt.Sprintf("payer-%d", i))
			w.assign(a.ID, role.ID, end)
			w.assign(a.ID, kept.ID, time.Time{})
			ids = append(ids, a.ID)
			want = append(want, fmt.Sprintf("%s %s %s", audit.RoleUnassigned, a.ID, role.ID))
		}
		want = append(want, fmt.Sprintf("%s  %s", audit.RoleDeleted, role.ID))
		w.clock.Advance(2 * time.Minute) // the last of them has ended
		before, from := w.accounts(), len(w.events())

		w.refused(w.DeleteRole(w.ctx, cleaner, w.meta, role.ID, nil, false), fault.CodeInUse)
		stale := role.Version + 1
		w.refused(w.DeleteRole(w.ctx, cleaner, w.meta, role.ID, &stale, true), fault.CodePreconditionFailed)
		w.LimitCascade(3)
		w.refused(w.DeleteRole(w.ctx, cleaner, w.meta, role.ID, nil, true), fault.CodeLimitReached)
		if got := w.happened(from); len(got) != 0 || !slices.Equal(w.holds(ids[0], api), []string{"invoices:pay", "invoices:read"}) {
			t.Errorf("refused, and yet: %v", got)
		}

		w.LimitCascade(4)
		w.must(w.DeleteRole(w.ctx, cleaner, w.meta, role.ID, &role.Version, true))
		if diff := cmp.Diff(want, w.happened(from)); diff != "" {
			t.Error(diff)
		}
		for _, e := range w.events()[from:] {
			if e.Actor != cleaner.ClientID || e.RequestID != w.meta.RequestID || e.Type == audit.RoleUnassigned && e.Details["role"] != "payer" ||
				e.Type == audit.RoleDeleted && (e.Details["name"] != "payer" || e.Details["unassigned"] != "4") {
				t.Errorf("recorded %+v", e)
			}
		}
		for _, id := range ids {
			p, err := w.ListAssignments(w.ctx, w.admin, id, directory.AssignmentFilter{}, directory.PageRequest{})
			w.must(err)
			if len(p.Items) != 1 || p.Items[0].RoleID != kept.ID || !slices.Equal(w.holds(id, api), []string{"invoices:read"}) {
				t.Errorf("%s has %+v and may %v", id, p.Items, w.holds(id, api))
			}
		}
		if diff := cmp.Diff(before, w.accounts(), cmp.Comparer(sameAccount)); diff != "" {
			t.Errorf("accounts were written: %s", diff)
		}
		_, err := w.GetRole(w.ctx, w.admin, role.ID)
		w.refused(err, fault.CodeNotFound)
	})
}

// sameAccount compares all that a write of the row would change. LastUsedAt is
// written on its own.
func sameAccount(a, b identity.ServiceAccount) bool {
	return a.ID == b.ID && a.Name == b.Name && a.Version == b.Version && a.Gen == b.Gen && a.UpdatedAt.Equal(b.UpdatedAt) &&
		a.Status == b.Status && a.DefaultResourceServer == b.DefaultResourceServer
}

func TestADeletedResourceServerLeavesRolesAndAccounts(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api, other := w.api("invoices", "invoices:read", "invoices:pay"), w.api("letters", "letters:read")
		mixed := w.role("mixed", at(api.ID, "invoices:read", "invoices:pay"), at(other.ID, "letters:read"))
		w.clock.Advance(time.Millisecond)
		only := w.role("only", at(api.ID, "invoices:read"))
		untouched := w.role("untouched", at(other.ID, "letters:read"))
		cleaner := w.agent("cleaner", w.role("cleaner", management(identity.PermResourceServersWrite)).ID)
		agent, bystander := w.account("agent"), w.account("bystander")
		w.assign(agent.ID, mixed.ID, time.Time{})
		_, err := w.UpdateServiceAccount(w.ctx, w.admin, w.meta, agent.ID, nil, directory.ServiceAccountPatch{DefaultResourceServer: directory.PatchTo(api.ID)})
		w.must(err)
		agentVersion, from := w.version(agent.ID), len(w.events())

		err = w.DeleteResourceServer(w.ctx, cleaner, w.meta, api.ID, nil, false)
		w.refused(err, fault.CodeInUse)
		want := &fault.InUse{Count: 3, First: []fault.User{
			{Kind: "role", ID: mixed.ID, Name: "mixed"}, {Kind: "role", ID: only.ID, Name: "only"},
			{Kind: "service_account", ID: agent.ID, Name: "agent"},
		}}
		if diff := cmp.Diff(want, fault.From(err).InUse); diff != "" {
			t.Error(diff)
		}
		stale := api.Version + 1
		w.refused(w.DeleteResourceServer(w.ctx, cleaner, w.meta, api.ID, &stale, true), fault.CodePreconditionFailed)
		w.LimitCascade(2)
		w.refused(w.DeleteResourceServer(w.ctx, cleaner, w.meta, api.ID, nil, true), fault.CodeLimitReached)
		if got := w.happened(from); len(got) != 0 || len(w.holds(agent.ID, api)) != 2 {
			t.Errorf("refused, and yet: %v", got)
		}

		w.LimitCascade(3)
		w.must(w.DeleteResourceServer(w.ctx, cleaner, w.meta, api.ID, &api.Version, true))
		if diff := cmp.Diff([]string{
			fmt.Sprintf("%s  %s", audit.RoleUpdated, mixed.ID), fmt.Sprintf("%s  %s", audit.RoleUpdated, only.ID),
			fmt.Sprintf("%s %s %s", audit.AccountUpdated, agent.ID, agent.ID), fmt.Sprintf("%s  %s", audit.ResourceServerDeleted, api.ID),
		}, w.happened(from)); diff != "" {
			t.Error(diff)
		}
		events := w.events()[from:]
		if d := events[0].Details; d["permissions_removed"] != api.ID+"/invoices:pay "+api.ID+"/invoices:read" || d["permissions_added"] != "" {
			t.Errorf("recorded of the role: %v", d)
		}
		if d := events[2].Details; d["changed"] != "default_resource_server" {
			t.Errorf("recorded of the account: %v", d)
		}
		got, err := w.GetRole(w.ctx, w.admin, mixed.ID)
		w.must(err)
		if diff := cmp.Diff(at(other.ID, "letters:read"), got.Permissions); diff != "" || got.Version != mixed.Version+1 {
			t.Errorf("version %d, %s", got.Version, diff)
		}
		if w.roleVersion(untouched.ID) != untouched.Version {
			t.Error("a role that has nothing to do with it has a new version")
		}
		left, err := w.GetServiceAccount(w.ctx, w.admin, agent.ID)
		w.must(err)
		if left.DefaultResourceServer != "" || left.Version != agentVersion+1 || w.version(bystander.ID) != bystander.Version {
			t.Errorf("%+v", left)
		}
		if len(w.holds(agent.ID, api)) != 0 || !slices.Equal(w.holds(agent.ID, other), []string{"letters:read"}) {
			t.Error("the agent holds something else than what is left")
		}
	})
}

func TestACascadeSparesWhatIsBuiltInAndTheLastAdministrator(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		before, from := w.accounts(), len(w.events())
		for _, role := range identity.BuiltInRoles() {
			w.refused(w.DeleteRole(w.ctx, w.admin, w.meta, role.ID, nil, true), fault.CodeBuiltIn)
		}
		w.refused(w.DeleteResourceServer(w.ctx, w.admin, w.meta, identity.ManagementResourceServerID, nil, true), fault.CodeBuiltIn)
		if got := w.happened(from); len(got) != 0 || !cmp.Equal(before, w.accounts(), cmp.Comparer(sameAccount)) {
			t.Errorf("refused, and yet: %v", got)
		}
		if !w.caller(w.admin.ClientID).Has(identity.PermRolesGrantAny) {
			t.Error("the administrator is none any more")
		}
	})
}

func TestTheFirstTwentyUsersOfAllKindsAreNamedInTheOrderOfIDs(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read")
		var want []fault.User
		for i := range 18 {
			w.clock.Advance(time.Millisecond)
			r := w.role(fmt.Sprintf("role-%d", i), at(api.ID, "invoices:read"))
			want = append(want, fault.User{Kind: "role", ID: r.ID, Name: r.Name})
		}
		for i := range 5 {
			w.clock.Advance(time.Millisecond)
			a := w.account(fmt.Sprintf("agent-%d", i))
			_, err := w.UpdateServiceAccount(w.ctx, w.admin, w.meta, a.ID, nil, directory.ServiceAccountPatch{DefaultResourceServer: directory.PatchTo(api.ID)})
			w.must(err)
			want = append(want, fault.User{Kind: "service_account", ID: a.ID, Name: a.Name})
		}
		f := fault.From(w.DeleteResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, false))
		if f.InUse == nil || f.InUse.Count != 23 {
			t.Fatalf("%+v", f)
		}
		if diff := cmp.Diff(want[:20], f.InUse.First); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(f.Detail, "18 role(s) and 5 service account(s)") || !strings.Contains(f.Detail, "cascade=true") {
			t.Error(f.Detail)
		}
	})
}

func TestChangingWhatARoleGivesRewritesNoAccount(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "a", "b", "c")
		role := w.role("clerk", at(api.ID, "a", "b"))
		agent := w.account("agent")
		w.assign(agent.ID, role.ID, time.Time{})
		w.holds(agent.ID, api) // in memory from here on
		before := w.accounts()
		version := role.Version
		for _, step := range []struct {
			name string
			do   func() error
			want []string
		}{
			{"its permissions are changed", func() error {
				_, err := w.UpdateRole(w.ctx, w.admin, w.meta, role.ID, nil, directory.RolePatch{Permissions: directory.PatchTo(at(api.ID, "a", "c"))})
				return err
			}, []string{"a", "c"}},
			{"one is renamed, one removed", func() error {
				_, err := w.ChangePermissions(w.ctx, w.admin, w.meta, api.ID, nil,
					directory.PermissionChanges{Rename: []identity.Renaming{{From: "a", To: "z"}}, Remove: []string{"c"}})
				return err
			}, []string{"z"}},
		} {
			w.clock.Advance(time.Second)
			w.must(step.do())
			version++
			if got := w.roleVersion(role.ID); got != version {
				t.Errorf("%s: the role has version %d, want %d", step.name, got, version)
			}
			if diff := cmp.Diff(step.want, w.holds(agent.ID, api)); diff != "" {
				t.Errorf("%s: %s", step.name, diff)
			}
			if diff := cmp.Diff(before, w.accounts(), cmp.Comparer(sameAccount)); diff != "" {
				t.Errorf("%s: accounts were written: %s", step.name, diff)
			}
		}
	})
}
