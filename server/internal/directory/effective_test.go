package directory_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestEffectivePermissionsArePagedWhateverTheAccountMayDoNow(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		long := strings.Repeat("x", identity.MaxPermissionLength-2)
		rs := w.api("invoices", long+":a", long+":b", "c")
		role := w.role("clerk", at(rs.ID, long+":a", long+":b", "c"), management(identity.PermRolesRead))
		a := w.account("agent")
		w.assign(a.ID, role.ID, time.Time{})
		_, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, a.ID)
		w.must(err)
		want := []string{identity.PermRolesRead, "c", long + ":a", long + ":b"} // by the ids of resource servers
		var got []string
		ask := directory.PageRequest{Size: 1}
		for {
			p, err := w.ListEffectivePermissions(w.ctx, w.admin, a.ID, directory.EffectiveFilter{}, ask)
			w.must(err)
			for _, i := range p.Items {
				got = append(got, i.Permission)
				if len(i.Roles) != 1 || i.RoleCount != 1 || i.Roles[0].RoleID != role.ID || i.Roles[0].RoleName != "clerk" {
					t.Errorf("%+v", i)
				}
			}
			if p.NextToken == "" {
				break
			}
			if len(p.NextToken) > 512 {
				t.Errorf("a page token of %d", len(p.NextToken))
			}
			// A token belongs to its list, its account and its filters.
			_, err = w.ListEffectivePermissions(w.ctx, w.admin, w.admin.ClientID, directory.EffectiveFilter{}, directory.PageRequest{Token: p.NextToken})
			w.refused(err, fault.CodeInvalidPageToken)
			_, err = w.ListEffectivePermissions(w.ctx, w.admin, a.ID, directory.EffectiveFilter{ResourceServerID: rs.ID}, directory.PageRequest{Token: p.NextToken})
			w.refused(err, fault.CodeInvalidPageToken)
			ask.Token = p.NextToken
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		_, err = w.ListEffectivePermissions(w.ctx, w.admin, "sa_01jzt3v0q8n4m6x2c9k7b5h1d0", directory.EffectiveFilter{}, directory.PageRequest{})
		w.refused(err, fault.CodeNotFound)
		_, err = w.ListEffectivePermissions(w.ctx, w.admin, a.ID, directory.EffectiveFilter{ResourceServerID: "x"}, directory.PageRequest{})
		w.refused(err, fault.CodeInvalidRequest)
	})
}

// roles:grant-any is used where a grant needs it, not by each grant of who holds it.
func TestGrantingBeyondOneselfIsAUse(t *testing.T) {
	t.Parallel()
	for name, beyond := range map[string]bool{"what one holds": false, "what one does not hold": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testkit.Databases(t, func(t *testing.T, url string) {
				w := emptyWorld(t, url)
				account, _, err := w.BootstrapAdmin(w.ctx, false)
				w.must(err)
				w.admin = w.caller(account.ID)
				gives := management(identity.PermRolesRead)
				if beyond {
					gives = at(w.api("invoices", "invoices:read").ID, "invoices:read")
				}
				w.role("clerk", gives)
				w.must(w.store.Close(w.ctx)) // which writes what was used
				used := false
				w.must(testkit.Open(t, url, w.clock).View(w.ctx, func(r *store.Reader) error {
					all, _, err := r.PermissionsInEffect(w.ctx, account.ID, store.EffectiveFilter{}, w.clock.Now(), store.EffectivePosition{}, 200)
					for _, p := range all {
						used = used || p.Permission == identity.PermRolesGrantAny && !p.LastUsedAt.IsZero()
					}
					return err
				}))
				if used != beyond {
					t.Errorf("roles:grant-any is used: %t", used)
				}
			})
		})
	}
}

func TestCredentialsOfAllAccountsArePaged(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		first, second := w.agent("first"), w.agent("second")
		all := func(f directory.CredentialFilter) (accounts []string) {
			t.Helper()
			for ask := (directory.PageRequest{Size: 1}); ; {
				p, err := w.ListCredentials(w.ctx, w.admin, f, ask)
				w.must(err)
				for _, c := range p.Items {
					accounts = append(accounts, c.ServiceAccountID)
				}
				if ask.Token = p.NextToken; ask.Token == "" {
					return accounts
				}
			}
		}
		sorted := cmp.Transformer("set", func(list []string) map[string]int {
			set := map[string]int{}
			for _, v := range list {
				set[v]++
			}
			return set
		})
		if diff := cmp.Diff([]string{w.admin.ClientID, first.ClientID, second.ClientID}, all(directory.CredentialFilter{}), sorted); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{second.ClientID}, all(directory.CredentialFilter{AccountID: second.ClientID, Owner: "ops", Kind: identity.KindClientSecret})); diff != "" {
			t.Error(diff)
		}
		_, err := w.ListCredentials(w.ctx, w.admin, directory.CredentialFilter{AccountID: "x"}, directory.PageRequest{})
		w.refused(err, fault.CodeInvalidRequest)
		_, err = w.ListCredentials(w.ctx, w.admin, directory.CredentialFilter{Owner: "a\x00"}, directory.PageRequest{})
		w.refused(err, fault.CodeInvalidRequest)
	})
}
