package store_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func newKey(t *testing.T, s *store.Store, accountID string, permissions ...identity.RolePermission) *identity.APIKey {
	t.Helper()
	text := identity.GenerateAPIKey()
	k := &identity.APIKey{
		ID: identity.NewID(identity.PrefixAPIKey, testkit.Start()), ServiceAccountID: accountID, Name: "a key",
		Hint: identity.Hint(text), Restricted: permissions != nil, Permissions: permissions,
		AllowedNetworks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, ExpiresAt: testkit.Start().Add(time.Hour),
	}
	copy(k.MAC[:], text.Reveal()[4:])
	write(t, s, func(tx *store.Tx) error { return tx.InsertAPIKey(t.Context(), k) })
	return k
}

func readKey(t *testing.T, s *store.Store, k *identity.APIKey) (got *identity.APIKey, err error) {
	t.Helper()
	err = s.View(t.Context(), func(r *store.Reader) (err error) {
		got, err = r.APIKey(t.Context(), k.ServiceAccountID, k.ID)
		return err
	})
	return got, err
}

var sameKey = cmp.Options{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty()}

func TestAnAPIKeyIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := account("own")
		write(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) })
		rs, _ := newAPI(t, s, "api", "x:read", "x:write")
		k := newKey(t, s, a.ID, identity.RolePermission{ResourceServerID: rs.ID, Permission: "x:write"}, identity.RolePermission{ResourceServerID: rs.ID, Permission: "x:read"})
		got, err := readKey(t, s, k)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(k, got, sameKey); diff != "" {
			t.Error(diff)
		}
		// On the token path it is the same, without what is there for people.
		held := principal(t, s, a.ID).APIKeys
		want := []identity.APIKey{*k}
		want[0].Name, want[0].Hint, want[0].Version, want[0].UpdatedAt = "", "", 0, time.Time{}
		if diff := cmp.Diff(want, held, sameKey); diff != "" {
			t.Error(diff)
		}

		got.Restricted, got.Permissions, got.Name, got.AllowedNetworks, got.ExpiresAt = false, nil, "other", nil, time.Time{}
		write(t, s, func(tx *store.Tx) error { return tx.UpdateAPIKey(t.Context(), got) })
		if held := principal(t, s, a.ID).APIKeys[0]; held.Restricted || held.Permissions != nil || held.AllowedNetworks != nil || !held.ExpiresAt.IsZero() {
			t.Errorf("%+v", held)
		}
		stale := *k
		write(t, s, func(tx *store.Tx) error {
			wantCode(t, tx.UpdateAPIKey(t.Context(), &stale), fault.CodePreconditionFailed)
			wantCode(t, tx.DeleteAPIKey(t.Context(), &stale), fault.CodePreconditionFailed)
			return tx.DeleteAPIKey(t.Context(), got)
		})
		_, err = readKey(t, s, k)
		wantCode(t, err, fault.CodeNotFound)
		if held := principal(t, s, a.ID).APIKeys; len(held) != 0 {
			t.Errorf("a deleted key is held: %+v", held)
		}
		check(t, s)
	})
}

func TestTheOwnerOfAKeyIsFoundByItsMAC(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := account("own")
		write(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) })
		_, err := s.KeyOwner(t.Context(), &[32]byte{1})
		wantCode(t, err, fault.CodeNotFound)
		k := newKey(t, s, a.ID)
		for range 2 {
			if owner, err := s.KeyOwner(t.Context(), &k.MAC); err != nil || owner != a.ID {
				t.Errorf("%s, %v", owner, err)
			}
		}
		// Two keys of one text cannot be.
		twin := *k
		twin.ID = identity.NewID(identity.PrefixAPIKey, testkit.Start())
		if err := tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertAPIKey(t.Context(), &twin) }); err == nil {
			t.Error("a second key has the same MAC")
		}
	})
}

func TestAnAccountIsDeletedWithItsKeys(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := account("own")
		write(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) })
		rs, _ := newAPI(t, s, "api", "x:read")
		k := newKey(t, s, a.ID, identity.RolePermission{ResourceServerID: rs.ID, Permission: "x:read"})
		write(t, s, func(tx *store.Tx) error { return tx.DeleteServiceAccount(t.Context(), a) })
		_, err := readKey(t, s, k)
		wantCode(t, err, fault.CodeNotFound)
		_, err = s.KeyOwner(t.Context(), &k.MAC)
		wantCode(t, err, fault.CodeNotFound)
		check(t, s)
	})
}

// A key follows its permissions: by their new names, or without them, and never to
// where no list is left and everything would be given.
func TestKeysFollowTheirPermissions(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := account("own")
		write(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) })
		rs, role := newAPI(t, s, "api", "x:read", "x:write")
		assign(t, s, a.ID, role.ID, time.Time{})
		other, user := newAPI(t, s, "other", "y:read")
		at := func(rs *identity.ResourceServer, permission string) identity.RolePermission {
			return identity.RolePermission{ResourceServerID: rs.ID, Permission: permission}
		}
		k := newKey(t, s, a.ID, at(rs, "x:read"), at(other, "y:read"))
		free := newKey(t, s, a.ID)
		gives := func(version int64, want ...identity.RolePermission) {
			t.Helper()
			got, err := readKey(t, s, k)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Permissions, sameKey); diff != "" || !got.Restricted || got.Version != version {
				t.Errorf("version %d: %s", got.Version, diff)
			}
			held, ok := principal(t, s, a.ID).Credential(k.ID)
			if diff := cmp.Diff(want, held.Permissions, sameKey); diff != "" || !ok || !held.Restricted {
				t.Errorf("on the token path: %s", diff)
			}
		}
		gives(1, at(rs, "x:read"), at(other, "y:read"))
		write(t, s, func(tx *store.Tx) error {
			return tx.ChangePermissions(t.Context(), rs, store.PermissionChanges{Rename: []identity.Renaming{{From: "x:read", To: "x:see"}}})
		})
		gives(2, at(rs, "x:see"), at(other, "y:read"))
		rs = resourceServer(t, s, rs.ID)
		write(t, s, func(tx *store.Tx) error {
			return tx.ChangePermissions(t.Context(), rs, store.PermissionChanges{Remove: []string{"x:see"}})
		})
		gives(3, at(other, "y:read"))
		// Withdrawn, by a patch of the resource server: nothing else grants it.
		other = resourceServer(t, s, other.ID)
		write(t, s, func(tx *store.Tx) error {
			user.Permissions = nil
			if err := tx.UpdateRole(t.Context(), user); err != nil {
				return err
			}
			other.Permissions = []identity.Permission{{Name: "y:new"}}
			return tx.UpdateResourceServer(t.Context(), other)
		})
		gives(4)
		// What comes back under an old name is not what the key once gave.
		other = resourceServer(t, s, other.ID)
		other.Permissions = append(other.Permissions, identity.Permission{Name: "y:read"})
		write(t, s, func(tx *store.Tx) error { return tx.UpdateResourceServer(t.Context(), other) })
		gives(4)
		if c, _ := principal(t, s, a.ID).Credential(free.ID); c.Restricted || len(c.Narrow(rs.ID, []string{"x:write"})) != 1 {
			t.Errorf("a key without a list: %+v", c)
		}
		check(t, s)
	})
}

func resourceServer(t *testing.T, s *store.Store, id string) (rs *identity.ResourceServer) {
	t.Helper()
	view(t, s, func(r *store.Reader) (err error) {
		rs, err = r.ResourceServer(t.Context(), id)
		return err
	})
	return rs
}

func TestAKeyLeavesWithTheResourceServer(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		a := account("own")
		write(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) })
		rs, _ := newAPI(t, s, "api", "x:read")
		k := newKey(t, s, a.ID, identity.RolePermission{ResourceServerID: rs.ID, Permission: "x:read"})
		principal(t, s, a.ID)
		write(t, s, func(tx *store.Tx) error { return tx.DeleteResourceServer(t.Context(), rs) })
		c, ok := principal(t, s, a.ID).Credential(k.ID)
		if !ok || !c.Restricted || len(c.Permissions) != 0 {
			t.Errorf("%+v", c)
		}
		check(t, s)
	})
}
