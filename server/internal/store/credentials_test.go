package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestCredentialsOfAllAccountsAreFiltered(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		ann, bob, gone := account("ann"), account("bob"), account("gone")
		ann.Owner, bob.Owner, gone.Owner = "ann", "bob", "ann"
		now := testkit.Start()
		names := map[string]string{}
		secret := func(tx *store.Tx, name, accountID string, expires, used time.Time) error {
			c := &identity.ClientSecret{
				ID: identity.NewID(identity.PrefixClientSecret, now.Add(time.Duration(len(names))*time.Millisecond)), ServiceAccountID: accountID,
				Hint: "abcd", ExpiresAt: expires, CreatedAt: now, LastUsedAt: used,
			}
			names[c.ID] = name
			return tx.InsertClientSecret(t.Context(), c)
		}
		write(t, s, func(tx *store.Tx) error {
			for _, a := range []*identity.ServiceAccount{ann, bob, gone} {
				if err := tx.InsertServiceAccount(t.Context(), a); err != nil {
					return err
				}
			}
			for _, c := range []struct {
				name, account string
				expires, used time.Time
			}{
				{"ann's, for good, used", ann.ID, time.Time{}, now.Add(time.Hour)},
				{"ann's, ended", ann.ID, now.Add(-time.Hour), time.Time{}},
				{"bob's, until noon", bob.ID, now.Add(time.Hour), time.Time{}},
				{"of the deleted", gone.ID, time.Time{}, time.Time{}},
			} {
				if err := secret(tx, c.name, c.account, c.expires, c.used); err != nil {
					return err
				}
			}
			return tx.DeleteServiceAccount(t.Context(), gone)
		})
		for name, c := range map[string]struct {
			filter store.CredentialFilter
			want   []string
		}{
			"all":              {store.CredentialFilter{}, []string{"ann's, for good, used", "ann's, ended", "bob's, until noon"}},
			"of an account":    {store.CredentialFilter{AccountID: ann.ID}, []string{"ann's, for good, used", "ann's, ended"}},
			"of an owner":      {store.CredentialFilter{Owner: "bob"}, []string{"bob's, until noon"}},
			"of nobody":        {store.CredentialFilter{Owner: "' OR 1=1 --"}, nil},
			"of a kind":        {store.CredentialFilter{Kind: identity.KindClientSecret, Owner: "bob"}, []string{"bob's, until noon"}},
			"of no kind":       {store.CredentialFilter{Kind: "passport"}, nil},
			"ended":            {store.CredentialFilter{ExpiresBefore: now}, []string{"ann's, ended"}},
			"will have ended":  {store.CredentialFilter{ExpiresBefore: now.Add(2 * time.Hour)}, []string{"ann's, ended", "bob's, until noon"}},
			"unused":           {store.CredentialFilter{UnusedSince: now.Add(time.Minute)}, []string{"ann's, ended", "bob's, until noon"}},
			"younger":          {store.CredentialFilter{UnusedSince: now}, nil},
			"several at once":  {store.CredentialFilter{Owner: "ann", UnusedSince: now.Add(time.Minute), ExpiresBefore: now}, []string{"ann's, ended"}},
			"used before that": {store.CredentialFilter{AccountID: ann.ID, UnusedSince: now.Add(2 * time.Hour)}, []string{"ann's, for good, used", "ann's, ended"}},
		} {
			for _, size := range []int{1, 2, 10} {
				var got []string
				for p := (store.Page{Size: size}); ; {
					var items []identity.Credential
					var more bool
					view(t, s, func(r *store.Reader) (err error) {
						items, more, err = r.Credentials(t.Context(), c.filter, p)
						return err
					})
					for _, i := range items {
						if i.Kind != identity.KindClientSecret || i.Hint != "abcd" || !i.CreatedAt.Equal(now) {
							t.Errorf("%+v", i)
						}
						got, p.After = append(got, names[i.ID]), i.ID
					}
					if !more {
						break
					}
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s, by %d:\n%s", name, size, diff)
				}
			}
		}
	})
}

func TestWhatEndsIsFoundBeforeItDoes(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		now := testkit.Start()
		soon, later, never := account("soon"), account("later"), account("never")
		soon.ExpiresAt, later.ExpiresAt = now.Add(time.Hour), now.Add(48*time.Hour)
		write(t, s, func(tx *store.Tx) error {
			for _, a := range []*identity.ServiceAccount{soon, later, never} {
				if err := tx.InsertServiceAccount(t.Context(), a); err != nil {
					return err
				}
			}
			return nil
		})
		_, ends := newAPI(t, s, "ends", "a:read")
		_, stays := newAPI(t, s, "stays", "a:read")
		assign(t, s, never.ID, ends.ID, now.Add(time.Hour))
		assign(t, s, never.ID, stays.ID, time.Time{})
		for at, want := range map[time.Duration]int{time.Hour: 0, time.Hour + time.Microsecond: 1, 72 * time.Hour: 2} {
			view(t, s, func(r *store.Reader) error {
				accounts, _, err := r.ServiceAccounts(t.Context(), store.AccountFilter{ExpiresBefore: now.Add(at)}, store.Page{Size: 10})
				if len(accounts) != want || want == 1 && accounts[0].ID != soon.ID {
					t.Errorf("%d accounts end within %s", len(accounts), at)
				}
				return err
			})
			view(t, s, func(r *store.Reader) error {
				roles, _, err := r.Assignments(t.Context(), never.ID, store.AssignmentFilter{ExpiresBefore: now.Add(at)}, store.Page{Size: 10})
				if len(roles) != min(want, 1) || want > 0 && roles[0].RoleID != ends.ID {
					t.Errorf("%d assignments end within %s", len(roles), at)
				}
				return err
			})
		}
	})
}
