package store_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// lastUsed is when each permission of an account was last used; those that were
// not are left out.
func lastUsed(t testing.TB, s *store.Store, accountID string) map[string]time.Time {
	t.Helper()
	used := map[string]time.Time{}
	view(t, s, func(r *store.Reader) error {
		items, _, err := r.PermissionsInEffect(t.Context(), accountID, store.EffectiveFilter{}, testkit.Start(), store.EffectivePosition{}, 200)
		for _, p := range items {
			if !p.LastUsedAt.IsZero() {
				used[p.Permission] = p.LastUsedAt
			}
		}
		return err
	})
	return used
}

func flush(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.FlushUses(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestUsesOfPermissionsAreKnownToTheHour(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, testkit.Clock(t))
		a := newAccount(t, s, "agent")
		rs, role := newAPI(t, s, "api", "a:read", "a:write", "a:delete")
		assign(t, s, a.ID, role.ID, time.Time{})
		before := s.Snapshot()
		hour := testkit.Start().Truncate(time.Hour)

		s.Used(a.ID, rs.ID, "a:read a:write", hour.Add(10*time.Minute))
		flush(t, s)
		want := map[string]time.Time{"a:read": hour, "a:write": hour}
		if diff := cmp.Diff(want, lastUsed(t, s, a.ID)); diff != "" {
			t.Error(diff)
		}
		// The same in the same hour costs no write, ...
		for range 100 {
			s.Used(a.ID, rs.ID, "a:read a:write", hour.Add(59*time.Minute))
		}
		if n := s.WaitingPermissionUses(); n != 0 {
			t.Errorf("%d uses of the running hour would be written again", n)
		}
		// ... the next hour does, and an older one sets nothing back.
		s.Used(a.ID, rs.ID, "a:read", hour.Add(time.Hour))
		s.Used(a.ID, rs.ID, "a:write", hour.Add(-time.Hour))
		flush(t, s)
		want["a:read"] = hour.Add(time.Hour)
		if diff := cmp.Diff(want, lastUsed(t, s, a.ID)); diff != "" {
			t.Error(diff)
		}
		// After a start nothing is remembered; what is written stays as it is.
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := testkit.Open(t, url, testkit.Clock(t))
		again.Used(a.ID, rs.ID, "a:write", hour.Add(30*time.Minute))
		flush(t, again)
		if diff := cmp.Diff(want, lastUsed(t, again, a.ID)); diff != "" {
			t.Error(diff)
		}
		if again.Snapshot() != before || principal(t, again, a.ID).Account.Version != a.Version {
			t.Error("a use has changed the version or the changes")
		}
		check(t, again)
	})
}

func TestUsesThatWaitAreWrittenAtTheEnd(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, testkit.Clock(t))
		a := newAccount(t, s, "agent")
		rs, role := newAPI(t, s, "api", "a:read")
		assign(t, s, a.ID, role.ID, time.Time{})
		s.Used(a.ID, rs.ID, "a:read", testkit.Start())
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if used := lastUsed(t, testkit.Open(t, url, testkit.Clock(t)), a.ID); len(used) != 1 {
			t.Errorf("%v", used)
		}
	})
}

func TestUsesGoWithWhatTheyAreOf(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		stays, goes := newAccount(t, s, "stays"), newAccount(t, s, "goes")
		rs, _ := newAPI(t, s, "api")
		rs.Permissions = []identity.Permission{{Name: "a:read"}, {Name: "a:write"}}
		write(t, s, func(tx *store.Tx) error { return tx.UpdateResourceServer(t.Context(), rs) })
		rows := func() (n int) {
			t.Helper()
			_, n, err := s.Sum(t.Context(), "SELECT * FROM permission_uses WHERE resource_server_id = '"+rs.ID+"'")
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		use := func() {
			for _, id := range []string{stays.ID, goes.ID} {
				s.Used(id, rs.ID, "a:read a:write", testkit.Start())
			}
		}
		use()
		flush(t, s)
		if n := rows(); n != 4 {
			t.Fatalf("%d rows", n)
		}
		rs.Permissions = rs.Permissions[:1]
		write(t, s, func(tx *store.Tx) error { return tx.UpdateResourceServer(t.Context(), rs) })
		if n := rows(); n != 2 {
			t.Errorf("%d rows after a permission was withdrawn", n)
		}
		check(t, s)
		write(t, s, func(tx *store.Tx) error { return tx.DeleteServiceAccount(t.Context(), goes) })
		if n := rows(); n != 1 {
			t.Errorf("%d rows after an account was deleted", n)
		}
		check(t, s)
		// What was noted before and is written after is of nobody and nothing.
		s.Used(goes.ID, rs.ID, "a:read", testkit.Start().Add(time.Hour))
		s.Used(stays.ID, rs.ID, "a:write a:gone", testkit.Start().Add(time.Hour))
		s.Used("sa_gone", "rs_gone", "x", testkit.Start())
		flush(t, s)
		if n := rows(); n != 1 {
			t.Errorf("%d rows of what is gone", n-1)
		}
		check(t, s)
		write(t, s, func(tx *store.Tx) error { return tx.DeleteResourceServer(t.Context(), rs) })
		if n := rows(); n != 0 {
			t.Errorf("%d rows of a deleted resource server", n)
		}
		check(t, s)
	})
}

func TestCheckFindsUsesOfTheDead(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "agent")
		rs, _ := newAPI(t, s, "api", "a:read")
		s.Used(a.ID, rs.ID, "a:read", testkit.Start())
		flush(t, s)
		if err := s.Exec(t.Context(), "UPDATE service_accounts SET deleted_at = 1"); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "a use of a permission by a deleted") {
			t.Errorf("the check says %v", err)
		}
	})
}

func TestUsesThatCannotBeWrittenWait(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "agent")
		rs, _ := newAPI(t, s, "api", "a:read")
		s.Used(a.ID, rs.ID, "a:read", testkit.Start())
		if err := s.Exec(t.Context(), "ALTER TABLE permission_uses RENAME TO away"); err != nil {
			t.Fatal(err)
		}
		if err := s.FlushUses(t.Context()); err == nil {
			t.Fatal("written into a table that is away")
		}
		if n := s.WaitingPermissionUses(); n != 1 {
			t.Errorf("%d uses wait", n)
		}
		if err := s.Exec(t.Context(), "ALTER TABLE away RENAME TO permission_uses"); err != nil {
			t.Fatal(err)
		}
		flush(t, s)
		if n := s.WaitingPermissionUses(); n != 0 {
			t.Errorf("%d uses still wait", n)
		}
	})
}

// No clock ticks here: what is written is written before its interval.
func TestManyUsesDoNotWaitForTheInterval(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.OpenWith(t, store.Options{URL: url, Clock: testkit.Clock(t), Elapsed: testkit.Clock(t)})
		a := newAccount(t, s, "agent")
		secret := newSecret(t, s, a.ID)
		rs, role := newAPI(t, s, "api", "a:read", "b:read")
		assign(t, s, a.ID, role.ID, time.Time{})
		at := testkit.Start()
		for i := range store.ManyUses - 2 {
			s.Used(a.ID, rs.ID, fmt.Sprintf("gone%d:read", i), at)
		}
		s.Used(a.ID, rs.ID, "a:read", at)
		for range store.ManyUses - 1 {
			touch(t, s, a.ID, identity.NewID(identity.PrefixClientSecret, at), at)
		}
		if p, c := s.WaitingPermissionUses(), s.WaitingUses(); p != store.ManyUses-1 || c != store.ManyUses-1 {
			t.Fatalf("%d and %d wait", p, c)
		}
		s.Used(a.ID, rs.ID, "b:read a:read", at)
		eventually(t, 10*time.Second, "the uses of permissions are written", func() bool { return len(lastUsed(t, s, a.ID)) == 2 })
		eventually(t, 10*time.Second, "and with them the others", func() bool { return s.WaitingUses() == 0 })
		for range store.ManyUses - 1 {
			touch(t, s, a.ID, identity.NewID(identity.PrefixClientSecret, at), at)
		}
		touch(t, s, a.ID, secret.ID, at)
		eventually(t, 10*time.Second, "the uses of credentials are written", func() bool { return secretUse(t, s, a.ID, secret.ID).Equal(at) })
	})
}

// A database that is down is asked again at the interval, and not with each use.
func TestManyUsesThatCannotBeWrittenWakeNobodyAgain(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s, err := store.Open(t.Context(), store.Options{URL: url, Clock: testkit.Clock(t)}) // not started: nobody is there to wake
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
		note := func(from, to int) {
			for i := from; i < to; i++ {
				s.Used("sa_x", "rs_x", fmt.Sprintf("p%d:read", i), testkit.Start())
			}
		}
		note(0, store.ManyUses)
		if !s.UsesWake() {
			t.Error("many uses wake nobody")
		}
		if err := s.Exec(t.Context(), "ALTER TABLE permission_uses RENAME TO away"); err != nil {
			t.Fatal(err)
		}
		if err := s.FlushUses(t.Context()); err == nil {
			t.Fatal("written into a table that is away")
		}
		note(store.ManyUses, store.ManyUses+10)
		if n := s.WaitingPermissionUses(); n != store.ManyUses+10 || s.UsesWake() {
			t.Errorf("%d of %d wait, or somebody was woken", n, store.ManyUses+10)
		}
		if err := s.Exec(t.Context(), "ALTER TABLE away RENAME TO permission_uses"); err != nil {
			t.Fatal(err)
		}
		flush(t, s)
		note(2*store.ManyUses, 3*store.ManyUses-1)
		if n := s.WaitingPermissionUses(); n != store.ManyUses-1 || s.UsesWake() {
			t.Errorf("of %d uses that are not many yet, %d wait, or somebody was woken", store.ManyUses-1, n)
		}
	})
}

func TestManyUsesAreWrittenInBatches(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "agent")
		var names []string
		for i := range 1201 {
			names = append(names, fmt.Sprintf("p%d:read", i))
		}
		rs, _ := newAPI(t, s, "api")
		for _, n := range names {
			rs.Permissions = append(rs.Permissions, identity.Permission{Name: n})
		}
		write(t, s, func(tx *store.Tx) error { return tx.UpdateResourceServer(t.Context(), rs) })
		for _, n := range names {
			s.Used(a.ID, rs.ID, n, testkit.Start())
		}
		flush(t, s)
		if _, n, err := s.Sum(t.Context(), "SELECT * FROM permission_uses"); err != nil || n != len(names) {
			t.Errorf("%d of %d are written: %v", n, len(names), err)
		}
	})
}

// A right that was used before uses were noted must not look unused after the
// upgrade.
func TestUpgradeDatesOldUsesByTheAccount(t *testing.T) {
	t.Parallel()
	testkit.Empty(t, func(t *testing.T, url string) {
		s := open(t, url)
		if err := s.MigrateUpTo(t.Context(), "0001"); err != nil {
			t.Fatal(err)
		}
		used, idle := identity.NewID(identity.PrefixServiceAccount, testkit.Start()), identity.NewID(identity.PrefixServiceAccount, testkit.Start())
		at := testkit.Start()
		for id, last := range map[string]time.Time{used: at, idle: time.UnixMicro(0)} {
			for _, query := range []string{
				fmt.Sprintf("INSERT INTO service_accounts VALUES ('%s', '%s', '', '', 'job', 'ops', '{}', 'active', 0, 0, '', '', 1, 1, 1, 1, %d, 0)", id, id, last.UnixMicro()),
				fmt.Sprintf("INSERT INTO role_assignments VALUES ('%s', '%s', 0, 1)", id, identity.RoleValidatorID),
			} {
				if err := s.Exec(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		hour := at.Truncate(time.Hour)
		want := map[string]time.Time{identity.PermTokensIntrospect: hour, identity.PermRevocationsRead: hour}
		if diff := cmp.Diff(want, lastUsed(t, s, used)); diff != "" {
			t.Error(diff)
		}
		if got := lastUsed(t, s, idle); len(got) != 0 {
			t.Errorf("an account that was never used: %v", got)
		}
		check(t, s)
	})
}

// What a release adds to the management API, its built-in roles have once an
// older installation is migrated.
func TestBuiltInRolesGetWhatAReleaseAdds(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := open(t, url)
		const added = identity.PermAuthorizationsExplain
		for _, query := range []string{
			"DELETE FROM role_permissions WHERE permission = '" + added + "'",
			"DELETE FROM resource_server_permissions WHERE name = '" + added + "'",
		} {
			if err := s.Exec(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, n, err := s.Sum(t.Context(), "SELECT role_id FROM role_permissions WHERE permission = '"+added+"'")
		if err != nil || n != 3 {
			t.Errorf("%d roles have %s: %v", n, added, err)
		}
		check(t, s)
	})
}

func BenchmarkUsedInTheSameHour(b *testing.B) {
	s := testkit.Open(b, testkit.SQLite(b), clock.System())
	a := newAccount(b, s, "agent")
	const scope = "invoices:read invoices:write invoices:pay"
	now := clock.System().Now()
	b.ReportAllocs()
	for b.Loop() {
		s.Used(a.ID, identity.ManagementResourceServerID, scope, now)
	}
}
