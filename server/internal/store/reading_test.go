package store_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func view(t testing.TB, s *store.Store, fn func(r *store.Reader) error) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func TestAccountComesBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		rs, _ := newAPI(t, s, "home", "things:read")
		a := account("whole")
		a.Description, a.Labels = `it's "quoted" \ and ünïcode ?`, map[string]string{"env": "prod", "$weird": "[0]"}
		a.ExpiresAt, a.TokenLifetime, a.DefaultResourceServer = testkit.Start().Add(time.Hour), 90*time.Second, rs.ID
		a.TokenRateLimit = 120
		a.AllowedNetworks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
		write(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) })
		a.Description, a.Labels, a.Status, a.TokenRateLimit = "changed", nil, identity.StatusDisabled, 121
		write(t, s, func(tx *store.Tx) error { return tx.UpdateServiceAccount(t.Context(), a) })
		view(t, s, func(r *store.Reader) error {
			got, err := r.ServiceAccount(t.Context(), a.ID)
			if diff := cmp.Diff(a, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
				t.Error(diff)
			}
			return err
		})
		if a.Version != 2 {
			t.Errorf("version %d after one change", a.Version)
		}
	})
}

func TestAccountsAreFiltered(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		write(t, s, func(tx *store.Tx) error {
			for _, a := range []*identity.ServiceAccount{
				{Name: "alpha", Kind: identity.KindAgent, Owner: "ann", Status: identity.StatusActive, Labels: map[string]string{"env": "prod", "[0]": "x"}},
				{Name: "alpine", Kind: identity.KindJob, Owner: "ann", Status: identity.StatusDisabled, Labels: map[string]string{"env": "test"}},
				{Name: "a%b", Kind: identity.KindJob, Owner: "bob", Status: identity.StatusActive, LastUsedAt: testkit.Start()},
			} {
				a.ID = account("").ID
				if err := tx.InsertServiceAccount(t.Context(), a); err != nil {
					return err
				}
			}
			return nil
		})
		for name, c := range map[string]struct {
			filter store.AccountFilter
			want   []string
		}{
			"all":            {store.AccountFilter{}, []string{"alpha", "alpine", "a%b"}},
			"kind":           {store.AccountFilter{Kind: identity.KindJob}, []string{"alpine", "a%b"}},
			"status, owner":  {store.AccountFilter{Status: identity.StatusActive, Owner: "ann"}, []string{"alpha"}},
			"label":          {store.AccountFilter{Labels: map[string]string{"env": "prod"}}, []string{"alpha"}},
			"odd label":      {store.AccountFilter{Labels: map[string]string{"[0]": "x"}}, []string{"alpha"}},
			"no such label":  {store.AccountFilter{Labels: map[string]string{"env": "prod", "no": "no"}}, nil},
			"prefix":         {store.AccountFilter{NamePrefix: "alp"}, []string{"alpha", "alpine"}},
			"no wildcard":    {store.AccountFilter{NamePrefix: "a%"}, []string{"a%b"}},
			"case":           {store.AccountFilter{NamePrefix: "Alp"}, nil},
			"unused since":   {store.AccountFilter{UnusedSince: testkit.Start().Add(time.Microsecond)}, []string{"alpha", "alpine", "a%b"}},
			"used since":     {store.AccountFilter{UnusedSince: testkit.Start()}, nil},
			"hostile values": {store.AccountFilter{Owner: "' OR 1=1 --", NamePrefix: `\'`}, nil},
		} {
			view(t, s, func(r *store.Reader) error {
				items, more, err := r.ServiceAccounts(t.Context(), c.filter, store.Page{Size: 10})
				var got []string
				for _, a := range items {
					got = append(got, a.Name)
				}
				if diff := cmp.Diff(c.want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" || more {
					t.Errorf("%s: %s", name, diff)
				}
				return err
			})
		}
	})
}

func TestResourceServersAndRolesComeBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "validator")
		rs, role := newAPI(t, s, "billing", "b:read", "b:write")
		rs.Introspectors, rs.TokenLifetimeMax = []string{a.ID}, time.Hour
		write(t, s, func(tx *store.Tx) error { return tx.UpdateResourceServer(t.Context(), rs) })
		view(t, s, func(r *store.Reader) error {
			got, err := r.ResourceServerByIdentifier(t.Context(), rs.Identifier)
			if diff := cmp.Diff(rs, got); err != nil || diff != "" {
				t.Error(err, diff)
			}
			gotRole, err := r.Role(t.Context(), role.ID)
			if diff := cmp.Diff(role, gotRole); err != nil || diff != "" {
				t.Error(err, diff)
			}
			roles, _, err := r.Roles(t.Context(), store.RoleFilter{ResourceServerID: rs.ID}, store.Page{Size: 9})
			if len(roles) != 1 || len(roles[0].Permissions) != 2 {
				t.Errorf("roles of the resource server: %+v", roles)
			}
			return err
		})

		rs.Permissions = rs.Permissions[:1]
		wantCode(t, tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateResourceServer(t.Context(), rs) }), fault.CodeInUse)
		foreign := &identity.Role{ID: account("").ID, Name: "x", Permissions: []identity.RolePermission{{ResourceServerID: rs.ID, Permission: "no:such"}}}
		wantCode(t, tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertRole(t.Context(), foreign) }), fault.CodeInvalidRequest)
		write(t, s, func(tx *store.Tx) error {
			now, err := tx.ResourceServer(t.Context(), rs.ID)
			if err != nil {
				return err
			}
			return tx.DeleteResourceServer(t.Context(), now)
		})
		view(t, s, func(r *store.Reader) error {
			left, err := r.Role(t.Context(), role.ID)
			if err == nil && len(left.Permissions) != 0 {
				t.Errorf("permissions of a deleted resource server are left: %v", left.Permissions)
			}
			return err
		})
		check(t, s)
	})
}

func TestUseIsCountedAndTheFirstTwentyNamed(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		rs, role := newAPI(t, s, "used", "u:read")
		write(t, s, func(tx *store.Tx) error {
			for i := range 23 {
				a := account(fmt.Sprintf("user-%d", i))
				a.DefaultResourceServer = rs.ID
				if err := tx.InsertServiceAccount(t.Context(), a); err != nil {
					return err
				}
				if _, err := tx.Assign(t.Context(), &identity.Assignment{ServiceAccountID: a.ID, RoleID: role.ID}); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, s, func(r *store.Reader) error {
			for name, c := range map[string]struct {
				use   func() (fault.InUse, error)
				count int
			}{
				"role":            {func() (fault.InUse, error) { return r.RoleUse(t.Context(), role.ID) }, 23},
				"resource server": {func() (fault.InUse, error) { return r.ResourceServerUse(t.Context(), rs.ID) }, 1},
				"permission":      {func() (fault.InUse, error) { return r.PermissionUse(t.Context(), rs.ID, "u:read") }, 1},
				"other":           {func() (fault.InUse, error) { return r.PermissionUse(t.Context(), rs.ID, "u:write") }, 0},
				"default":         {func() (fault.InUse, error) { return r.DefaultUse(t.Context(), rs.ID) }, 23},
			} {
				u, err := c.use()
				if err != nil || u.Count != c.count || len(u.First) != min(c.count, 20) {
					t.Errorf("%s: %d used, %d named, %v", name, u.Count, len(u.First), err)
				}
				for i, one := range u.First {
					if one.ID == "" || one.Name == "" || one.Kind == "" || i > 0 && u.First[i-1].ID >= one.ID {
						t.Errorf("%s: number %d is %+v", name, i, one)
					}
				}
			}
			return nil
		})
	})
}

func TestEventsAreFilteredAndPagedInBothDirections(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := newAccount(t, s, "logged")
		for i := range 30 {
			e := issued()
			if e.AccountID = a.ID; i%3 == 0 {
				e.Outcome, e.Reason, e.Type = audit.Refused, "invalid_scope", audit.TokenRefused
			}
			if err := s.Record(t.Context(), store.Issuance{Event: e}); err != nil {
				t.Fatal(err)
			}
		}
		f := audit.Filter{AccountID: a.ID, Outcome: audit.Refused}
		for _, newest := range []bool{false, true} {
			var got []audit.Link
			view(t, s, func(r *store.Reader) error {
				p := store.AuditPage{Size: 3, Newest: newest}
				for {
					items, next, err := r.AuditEvents(t.Context(), f, p)
					got = append(got, items...)
					if err != nil || next == nil {
						return err
					}
					p.After = *next
				}
			})
			if len(got) != 10 {
				t.Fatalf("newest first %v: %d events", newest, len(got))
			}
			for i := range got[1:] {
				if got[i].Seq < got[i+1].Seq == newest || !f.Matches(got[i].Chain, &got[i].Event) {
					t.Errorf("newest first %v: event %d out of place", newest, got[i].Seq)
				}
			}
		}
		if diff := cmp.Diff("192.0.2.17", events(t, s, f)[0].Event.Address.String()); diff != "" {
			t.Error(diff)
		}
		for _, f := range []audit.Filter{{Chain: "chn_no"}, {To: testkit.Start().Add(-2 * time.Hour)}, {From: testkit.Start().Add(time.Nanosecond)}, {Actor: "nobody"}} {
			if n := len(events(t, s, f)); n != 0 {
				t.Errorf("%+v selects %d events", f, n)
			}
		}
		if len(events(t, s, audit.Filter{From: testkit.Start(), To: testkit.Start().Add(time.Nanosecond)})) == 0 {
			t.Error("the time of the events selects none")
		}
	})
}
