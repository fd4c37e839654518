package directory_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

func TestServiceAccountReadsBackAsItWasAnswered(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices")
		made, err := w.CreateServiceAccount(w.ctx, w.admin, w.meta, directory.NewServiceAccount{
			Name: "billing", DisplayName: "Billing ✓", Description: "d", Kind: "robot", Owner: "Ops & Co",
			Labels: map[string]string{"team": "a%b_c"}, ExpiresAt: w.clock.Now().Add(time.Hour + time.Nanosecond),
			TokenLifetime: time.Minute, TokenRateLimit: 120, DefaultResourceServer: api.ID, AllowedNetworks: []string{"192.0.2.0/24", "2001:db8::/32"},
		})
		w.must(err)
		read, err := w.GetServiceAccount(w.ctx, w.admin, made.ID)
		w.must(err)
		if fmt.Sprint(made) != fmt.Sprint(read) {
			t.Errorf("made %+v\nread %+v", made, read)
		}
		if made.Status != identity.StatusActive || made.Version != 1 || !made.CreatedAt.Equal(w.clock.Now()) {
			t.Errorf("%+v", made)
		}
		plain := w.account("plain")
		if plain.Kind != identity.KindAgent {
			t.Errorf("kind %q when none is said", plain.Kind)
		}
	})
}

func TestServiceAccountCreationNamesEveryFault(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		_, err := w.CreateServiceAccount(w.ctx, w.admin, w.meta, directory.NewServiceAccount{
			Name: "Bad Name", DisplayName: "a\x00", Kind: "a b", Owner: " ", Labels: map[string]string{"a": "\x01"},
			ExpiresAt: w.clock.Now(), TokenLifetime: time.Second, TokenRateLimit: -1, DefaultResourceServer: "nonsense", AllowedNetworks: []string{"x"},
		})
		var got []string
		for _, f := range fault.From(err).Fields {
			got = append(got, f.Pointer)
		}
		slices.Sort(got)
		want := []string{
			"/allowed_networks/0", "/default_resource_server", "/display_name", "/expires_at", "/kind", "/labels/a",
			"/name", "/owner", "/token_lifetime", "/token_rate_limit",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		dangling := identity.NewID(identity.PrefixResourceServer, w.clock.Now())
		_, err = w.CreateServiceAccount(w.ctx, w.admin, w.meta, directory.NewServiceAccount{Name: "a", Owner: "o", DefaultResourceServer: dangling})
		if f := fault.From(err); f.Kind != fault.KindInvalid || len(f.Fields) != 1 || f.Fields[0].Pointer != "/default_resource_server" {
			t.Errorf("dangling reference: %+v", f)
		}
	})
}

func TestNamesAreUniqueAmongTheLivingAndFreeAfterDeletion(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		first := w.account("billing")
		_, err := w.CreateServiceAccount(w.ctx, w.admin, w.meta, directory.NewServiceAccount{Name: "billing", Owner: "ops"})
		w.refused(err, fault.CodeNameTaken)
		other := w.account("other")
		_, err = w.UpdateServiceAccount(w.ctx, w.admin, w.meta, other.ID, nil, directory.ServiceAccountPatch{Name: directory.PatchTo("billing")})
		w.refused(err, fault.CodeNameTaken)

		w.must(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, first.ID, nil))
		second := w.account("billing")
		if second.ID == first.ID {
			t.Error("an id was used again")
		}
		for name, err := range map[string]error{
			"get":     second1(w.GetServiceAccount(w.ctx, w.admin, first.ID)),
			"enable":  second1(w.EnableServiceAccount(w.ctx, w.admin, w.meta, first.ID)),
			"disable": second1(w.DisableServiceAccount(w.ctx, w.admin, w.meta, first.ID)),
			"revoke":  second1(w.RevokeServiceAccountTokens(w.ctx, w.admin, w.meta, first.ID)),
			"secret":  second1(w.CreateClientSecret(w.ctx, w.admin, w.meta, first.ID, directory.NewClientSecret{})),
			"assign":  second1(w.AssignRole(w.ctx, w.admin, w.meta, first.ID, identity.RoleAuditorID, directory.NewAssignment{})),
			"delete":  w.DeleteServiceAccount(w.ctx, w.admin, w.meta, first.ID, nil),
		} {
			if !fault.Is(err, fault.CodeNotFound) {
				t.Errorf("%s of a deleted account: %v", name, err)
			}
		}
		w.must(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, second.ID, nil))
		w.account("billing")
	})
}

func second1[T any](_ T, err error) error { return err }

func TestIDsThatAreNoIDsNeverReachTheDatabase(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for _, id := range []string{"", "sa_", "billing", w.admin.ClientID + "\x00", strings.ToUpper(w.admin.ClientID), "' OR 1=1 --", identity.RoleAdminID} {
			_, err := w.GetServiceAccount(w.ctx, w.admin, id)
			if f := fault.From(err); err == nil || f.Kind != fault.KindInvalid {
				t.Errorf("%q: %v", id, err)
			}
		}
	})
}

func TestOfWritersWithOneIfMatchOneWins(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("contended")
		const writers, rounds = 32, 3
		for range rounds {
			version := w.version(a.ID)
			errs := make([]error, writers)
			var group sync.WaitGroup
			for i := range writers {
				group.Go(func() {
					in := directory.ServiceAccountPatch{Description: directory.PatchTo(fmt.Sprintf("version %d by %d", version, i))}
					_, errs[i] = w.UpdateServiceAccount(w.ctx, w.admin, w.meta, a.ID, &version, in)
				})
			}
			group.Wait()
			wins := 0
			for _, err := range errs {
				if err == nil {
					wins++
				} else if !fault.Is(err, fault.CodePreconditionFailed) {
					t.Errorf("a loser got %v", err)
				}
			}
			if now := w.version(a.ID); wins != 1 || now != version+1 {
				t.Errorf("%d writers won, version %d became %d", wins, version, now)
			}
		}
	})
}

func TestWritersWithoutIfMatchAllSucceed(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("contended")
		const writers = 16
		errs := make([]error, writers)
		var group sync.WaitGroup
		for i := range writers {
			group.Go(func() {
				value := "1"
				in := directory.ServiceAccountPatch{Labels: directory.PatchTo(map[string]*string{fmt.Sprintf("l%d", i): &value})}
				_, errs[i] = w.UpdateServiceAccount(w.ctx, w.admin, w.meta, a.ID, nil, in)
			})
		}
		group.Wait()
		for _, err := range errs {
			w.must(err)
		}
		got, err := w.GetServiceAccount(w.ctx, w.admin, a.ID)
		w.must(err)
		if len(got.Labels) != writers || got.Version != a.Version+writers {
			t.Errorf("%d labels at version %d", len(got.Labels), got.Version)
		}
	})
}

func TestIfMatchGuardsDeletion(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		old := int64(0)
		a, rs, role := w.account("a"), w.api("api"), w.role("r")
		w.refused(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, a.ID, &old), fault.CodePreconditionFailed)
		w.refused(w.DeleteResourceServer(w.ctx, w.admin, w.meta, rs.ID, &old, false), fault.CodePreconditionFailed)
		w.refused(w.DeleteRole(w.ctx, w.admin, w.meta, role.ID, &old, false), fault.CodePreconditionFailed)
		w.must(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, a.ID, &a.Version))
		w.must(w.DeleteResourceServer(w.ctx, w.admin, w.meta, rs.ID, &rs.Version, false))
		w.must(w.DeleteRole(w.ctx, w.admin, w.meta, role.ID, &role.Version, false))
	})
}

func TestStoppingAnAccountBeginsANewGeneration(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("a")
		off, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, a.ID)
		w.must(err)
		if off.Status != identity.StatusDisabled || off.Gen != a.Gen+1 || off.Version <= a.Version {
			t.Errorf("disabled: %+v", off)
		}
		again, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, a.ID)
		w.must(err)
		if again.Version != off.Version || again.Gen != off.Gen {
			t.Errorf("disabling twice changed it: %+v", again)
		}
		on, err := w.EnableServiceAccount(w.ctx, w.admin, w.meta, a.ID)
		w.must(err)
		if on.Status != identity.StatusActive || on.Gen != off.Gen {
			t.Errorf("enabled: %+v", on)
		}
		revoked, err := w.RevokeServiceAccountTokens(w.ctx, w.admin, w.meta, a.ID)
		w.must(err)
		if revoked.Gen != on.Gen+1 || revoked.Status != identity.StatusActive {
			t.Errorf("revoked: %+v", revoked)
		}
		p, err := w.store.Principal(w.ctx, a.ID)
		w.must(err)
		if p.Account.Gen != revoked.Gen {
			t.Errorf("the node that wrote still believes in generation %d", p.Account.Gen)
		}
		w.must(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, a.ID, nil))
		if _, err := w.store.Principal(w.ctx, a.ID); !fault.Is(err, fault.CodeNotFound) {
			t.Errorf("a deleted account can sign in: %v", err)
		}
	})
}

func TestServiceAccountListFiltersAndPages(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		var ids []string
		for i := range 7 {
			w.clock.Advance(time.Millisecond) // ids of one millisecond have no order
			kind := identity.KindJob
			if i%2 == 0 {
				kind = identity.KindAgent
			}
			a, err := w.CreateServiceAccount(w.ctx, w.admin, w.meta, directory.NewServiceAccount{
				Name: fmt.Sprintf("job-%d", i), Owner: fmt.Sprintf("owner%d", i%3), Kind: kind,
				Labels: map[string]string{"n": fmt.Sprint(i % 2), "all": "x"},
			})
			w.must(err)
			ids = append(ids, a.ID)
		}
		_, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, ids[6])
		w.must(err)

		for name, c := range map[string]struct {
			filter directory.ServiceAccountFilter
			want   []int
		}{
			"prefix":             {directory.ServiceAccountFilter{NamePrefix: "job-"}, []int{0, 1, 2, 3, 4, 5, 6}},
			"whole name":         {directory.ServiceAccountFilter{NamePrefix: "job-3"}, []int{3}},
			"pattern characters": {directory.ServiceAccountFilter{NamePrefix: "job_"}, nil},
			"percent":            {directory.ServiceAccountFilter{NamePrefix: "%"}, nil},
			"kind":               {directory.ServiceAccountFilter{Kind: identity.KindJob}, []int{1, 3, 5}},
			"status":             {directory.ServiceAccountFilter{Status: identity.StatusDisabled}, []int{6}},
			"owner":              {directory.ServiceAccountFilter{Owner: "owner1"}, []int{1, 4}},
			"label":              {directory.ServiceAccountFilter{Labels: map[string]string{"n": "1"}}, []int{1, 3, 5}},
			"labels":             {directory.ServiceAccountFilter{Labels: map[string]string{"n": "0", "all": "x"}, Owner: "owner0"}, []int{0, 6}},
			"unused":             {directory.ServiceAccountFilter{UnusedSince: w.clock.Now().Add(time.Hour), NamePrefix: "job-2"}, []int{2}},
		} {
			var want, got []string
			for _, i := range c.want {
				want = append(want, ids[i])
			}
			for ask := (directory.PageRequest{Size: 2}); ; {
				p, err := w.ListServiceAccounts(w.ctx, w.admin, c.filter, ask)
				w.must(err)
				if len(p.Items) > 2 {
					t.Errorf("%s: %d items on a page of 2", name, len(p.Items))
				}
				for _, a := range p.Items {
					got = append(got, a.ID)
				}
				if ask.Token = p.NextToken; ask.Token == "" {
					break
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		for pointer, filter := range map[string]directory.ServiceAccountFilter{
			"?status": {Status: "asleep"}, "?kind": {Kind: "A B"}, "?owner": {Owner: "\x00"},
			"?name_prefix": {NamePrefix: "\x00"}, "?label": {Labels: map[string]string{"": "x"}},
		} {
			_, err := w.ListServiceAccounts(w.ctx, w.admin, filter, directory.PageRequest{})
			if f := fault.From(err); len(f.Fields) != 1 || f.Fields[0].Pointer != pointer {
				t.Errorf("%s: %+v", pointer, f)
			}
		}
	})
}

func TestPagesStayStableWhileAccountsAreMade(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for i := range 4 {
			w.clock.Advance(time.Millisecond)
			w.account(fmt.Sprintf("old-%d", i))
		}
		seen := map[string]int{}
		for i, ask := 0, (directory.PageRequest{Size: 2}); ; i++ {
			p, err := w.ListServiceAccounts(w.ctx, w.admin, directory.ServiceAccountFilter{}, ask)
			w.must(err)
			for _, a := range p.Items {
				seen[a.Name]++
			}
			if ask.Token = p.NextToken; ask.Token == "" {
				break
			}
			if i < 2 {
				w.clock.Advance(time.Millisecond)
				w.account(fmt.Sprintf("new-%d", i))
			}
		}
		for i := range 4 {
			if n := seen[fmt.Sprintf("old-%d", i)]; n != 1 {
				t.Errorf("old-%d stood on %d pages", i, n)
			}
		}
	})
}
