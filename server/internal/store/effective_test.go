package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func effective(t testing.TB, s *store.Store, accountID string, f store.EffectiveFilter, size int) (items []identity.EffectivePermission, pages int) {
	t.Helper()
	var after store.EffectivePosition
	for {
		var page []identity.EffectivePermission
		var more bool
		view(t, s, func(r *store.Reader) (err error) {
			page, more, err = r.PermissionsInEffect(t.Context(), accountID, f, testkit.Start(), after, size)
			return err
		})
		items = append(items, page...)
		pages++
		if !more {
			return items, pages
		}
		last := page[len(page)-1]
		after = store.EffectivePosition{ResourceServerID: last.ResourceServerID, Permission: last.Permission}
	}
}

func TestPermissionsInEffectNameTheRolesThatGiveThem(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a, other := newAccount(t, s, "agent"), newAccount(t, s, "other")
		first, firstRole := newAPI(t, s, "first", "a:write", "a:read")
		second, secondRole := newAPI(t, s, "second", "a:read")
		_, endedRole := newAPI(t, s, "ended", "z:read")
		both := &identity.Role{ID: identity.NewID(identity.PrefixRole, testkit.Start()), Name: "both", Permissions: []identity.RolePermission{
			{ResourceServerID: first.ID, Permission: "a:read"}, {ResourceServerID: second.ID, Permission: "a:read"},
		}}
		write(t, s, func(tx *store.Tx) error { return tx.InsertRole(t.Context(), both) })
		end := testkit.Start().Add(time.Hour)
		assign(t, s, a.ID, firstRole.ID, time.Time{})
		assign(t, s, a.ID, secondRole.ID, time.Time{})
		assign(t, s, a.ID, both.ID, end)
		assign(t, s, a.ID, endedRole.ID, testkit.Start()) // it ends at this very moment
		assign(t, s, other.ID, endedRole.ID, time.Time{})
		s.Used(a.ID, second.ID, "a:read", testkit.Start())
		flush(t, s)

		want := []identity.EffectivePermission{
			{
				ResourceServerID: first.ID, Audience: first.Identifier, Permission: "a:read", RoleCount: 2,
				Roles: []identity.GivingRole{{RoleID: both.ID, RoleName: "both", ExpiresAt: end}, {RoleID: firstRole.ID, RoleName: "first-user"}},
			},
			{
				ResourceServerID: first.ID, Audience: first.Identifier, Permission: "a:write", RoleCount: 1,
				Roles: []identity.GivingRole{{RoleID: firstRole.ID, RoleName: "first-user"}},
			},
			{
				ResourceServerID: second.ID, Audience: second.Identifier, Permission: "a:read", RoleCount: 2,
				LastUsedAt: testkit.Start().Truncate(time.Hour),
				Roles:      []identity.GivingRole{{RoleID: both.ID, RoleName: "both", ExpiresAt: end}, {RoleID: secondRole.ID, RoleName: "second-user"}},
			},
		}
		for size := 1; size <= 4; size++ {
			got, pages := effective(t, s, a.ID, store.EffectiveFilter{}, size)
			if diff := cmp.Diff(want, got); diff != "" || pages != (len(want)+size-1)/size {
				t.Errorf("%d pages of %d:\n%s", pages, size, diff)
			}
		}
		if got, _ := effective(t, s, a.ID, store.EffectiveFilter{ResourceServerID: second.ID}, 1); len(got) != 1 || got[0].ResourceServerID != second.ID {
			t.Errorf("of one resource server: %+v", got)
		}
	})
}

func TestUnusedIsWhatWasGivenBeforeAndNotUsedSince(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t) // at 15:04:05
		s := testkit.Open(t, url, clk)
		a := newAccount(t, s, "agent")
		rs, role := newAPI(t, s, "api", "never:used", "used:early", "used:late")
		assign(t, s, a.ID, role.ID, time.Time{})
		given := clk.Now()
		s.Used(a.ID, rs.ID, "used:early", given.Add(time.Hour))
		s.Used(a.ID, rs.ID, "used:late", given.Add(3*time.Hour))
		flush(t, s)
		for _, c := range []struct {
			since time.Duration
			want  []string
		}{
			{0, nil}, // given at that moment: it had no time to be used
			{time.Microsecond, []string{"never:used"}},
			{time.Hour + 50*time.Minute, []string{"never:used"}}, // within the hour of its use
			{2 * time.Hour, []string{"never:used", "used:early"}},
			{3*time.Hour - 4*time.Minute, []string{"never:used", "used:early"}},
			{4 * time.Hour, []string{"never:used", "used:early", "used:late"}},
		} {
			var got []string
			items, _ := effective(t, s, a.ID, store.EffectiveFilter{UnusedSince: given.Add(c.since)}, 10)
			for _, p := range items {
				got = append(got, p.Permission)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("unused since %s later:\n%s", c.since, diff)
			}
		}
	})
}

func TestOfVeryManyRolesTwentyAreNamed(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "agent")
		rs, _ := newAPI(t, s, "api", "a:read")
		for i := range 25 {
			role := &identity.Role{ID: identity.NewID(identity.PrefixRole, testkit.Start()), Name: fmt.Sprintf("role-%02d", 24-i),
				Permissions: []identity.RolePermission{{ResourceServerID: rs.ID, Permission: "a:read"}}}
			write(t, s, func(tx *store.Tx) error { return tx.InsertRole(t.Context(), role) })
			assign(t, s, a.ID, role.ID, time.Time{})
		}
		got, _ := effective(t, s, a.ID, store.EffectiveFilter{}, 10)
		if len(got) != 1 || got[0].RoleCount != 25 || len(got[0].Roles) != 20 || got[0].Roles[0].RoleName != "role-00" || got[0].Roles[19].RoleName != "role-19" {
			t.Errorf("%+v", got)
		}
	})
}
