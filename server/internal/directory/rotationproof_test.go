package directory_test

import (
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/testkit"
)

// proof is what an operator reads of a rotation: the old credential names the new
// one, and their last uses tell whether anybody still uses the old one.
type proof struct {
	oldUsed, newUsed   time.Time
	replacedBy, newID  string
	oldLive, newListed bool
}

func (p proof) done() bool {
	return p.replacedBy == p.newID && !p.newUsed.IsZero() && p.newUsed.After(p.oldUsed)
}

// Create the new one, see it used, see the old one unused, let the old one end: of
// keys and of secrets alike, read from what the API tells.
func TestARotationIsProvedByTheLastUses(t *testing.T) {
	t.Parallel()
	type kind struct {
		make   func(w *world, account string) (id string)
		rotate func(w *world, account, id string) (newID string)
		read   func(w *world, account, oldID, newID string) proof
	}
	hour := time.Hour
	kinds := map[string]kind{
		"API key": {
			func(w *world, account string) string { return w.key(account, directory.NewAPIKey{}).APIKey.ID },
			func(w *world, account, id string) string {
				out, err := w.RotateAPIKey(w.ctx, w.admin, w.meta, account, id, directory.KeyRotation{Overlap: &hour})
				w.must(err)
				return out.APIKey.ID
			},
			func(w *world, account, oldID, newID string) proof {
				old, err := w.GetAPIKey(w.ctx, w.admin, account, oldID)
				w.must(err)
				fresh, err := w.GetAPIKey(w.ctx, w.admin, account, newID)
				w.must(err)
				return proof{old.LastUsedAt, fresh.LastUsedAt, old.ReplacedBy, newID, old.Live(w.clock.Now()), fresh.ReplacedBy == ""}
			},
		},
		"client secret": {
			func(w *world, account string) string {
				out, err := w.CreateClientSecret(w.ctx, w.admin, w.meta, account, directory.NewClientSecret{})
				w.must(err)
				return out.ClientSecret.ID
			},
			func(w *world, account, _ string) string {
				out, err := w.RotateClientSecret(w.ctx, w.admin, w.meta, account, directory.Rotation{Overlap: &hour})
				w.must(err)
				return out.ClientSecret.ID
			},
			func(w *world, account, oldID, newID string) proof {
				old, err := w.GetClientSecret(w.ctx, w.admin, account, oldID)
				w.must(err)
				fresh, err := w.GetClientSecret(w.ctx, w.admin, account, newID)
				w.must(err)
				return proof{old.LastUsedAt, fresh.LastUsedAt, old.ReplacedBy, newID, old.Live(w.clock.Now()), fresh.ReplacedBy == ""}
			},
		},
	}
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testkit.Databases(t, func(t *testing.T, url string) {
				w := emptyWorld(t, url)
				account, _, err := w.BootstrapAdmin(w.ctx, false)
				w.must(err)
				w.admin = w.caller(account.ID)
				a := w.account("agent")
				oldID := k.make(w, a.ID)
				use := func(id string) {
					w.clock.Advance(time.Minute)
					p, err := w.store.Principal(w.ctx, a.ID)
					w.must(err)
					w.store.Touch(p, id, w.clock.Now())
					w.must(w.store.Close(w.ctx)) // which writes it
					w.store = testkit.Open(t, url, w.clock)
					w.Service = directory.New(w.store, w.keys, w.clock)
				}
				use(oldID)
				newID := k.rotate(w, a.ID, oldID)
				if p := k.read(w, a.ID, oldID, newID); p.done() || !p.oldLive || p.replacedBy != newID || !p.newListed {
					t.Errorf("after the rotation: %+v", p)
				}
				use(newID)
				if p := k.read(w, a.ID, oldID, newID); !p.done() {
					t.Errorf("once the new one is used: %+v", p)
				}
				use(oldID) // somebody has been forgotten
				if p := k.read(w, a.ID, oldID, newID); p.done() {
					t.Errorf("once the old one is used again: %+v", p)
				}
				use(newID)
				w.clock.Advance(time.Hour)
				if p := k.read(w, a.ID, oldID, newID); !p.done() || p.oldLive {
					t.Errorf("after the overlap: %+v", p)
				}
				list, err := w.ListCredentials(w.ctx, w.admin, directory.CredentialFilter{AccountID: a.ID}, directory.PageRequest{})
				w.must(err)
				if len(list.Items) != 2 || list.Items[0].ID != oldID || !list.Items[1].LastUsedAt.After(list.Items[0].LastUsedAt) {
					t.Errorf("%+v", list.Items)
				}
			})
		})
	}
}

func TestARotatedKeyGivesWhatTheOldOneGave(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read")
		a := w.account("agent")
		old := w.key(a.ID, directory.NewAPIKey{
			Name: "nightly", Permissions: only(at(api.ID, "invoices:read")), AllowedNetworks: []string{"192.0.2.0/24"}, ExpiresAt: w.clock.Now().Add(time.Minute),
		})
		fresh, err := w.RotateAPIKey(w.ctx, w.admin, w.meta, a.ID, old.APIKey.ID, directory.KeyRotation{})
		w.must(err)
		k := fresh.APIKey
		if k.Name != "nightly" || !k.Restricted || len(k.Permissions) != 1 || len(k.AllowedNetworks) != 1 || !k.ExpiresAt.IsZero() ||
			k.MAC == old.APIKey.MAC || identity.CheckAPIKey(fresh.Secret.Reveal()) != nil {
			t.Errorf("%+v", k)
		}
		was, err := w.GetAPIKey(w.ctx, w.admin, a.ID, old.APIKey.ID)
		w.must(err)
		if !was.ExpiresAt.Equal(old.APIKey.ExpiresAt) || was.Version != 2 {
			t.Errorf("a rotation lengthens a life: %+v", was)
		}
	})
}
