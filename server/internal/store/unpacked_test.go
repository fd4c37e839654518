package store

import (
	"fmt"
	"testing"

	"github.com/marque-id/marque/server/internal/identity"
)

// ofOneSet makes accounts that can only be in the same places.
func ofOneSet(u *unpacked, n int) (accounts []packedPrincipal) {
	first := u.set("sa_0")
	for i := 0; len(accounts) < n; i++ {
		if id := fmt.Sprintf("sa_%d", i); u.set(id) == first {
			accounts = append(accounts, packed(id, 1))
		}
	}
	return accounts
}

func packed(id string, version int64) packedPrincipal {
	return packPrincipal(&Principal{Account: identity.ServiceAccount{ID: id, Version: version}}, &sharedGrants{})
}

func TestAccountsThatAreAskedForAllTheTimeAreUnpackedOnce(t *testing.T) {
	t.Parallel()
	u := newUnpacked()
	all := ofOneSet(u, unpackedWays+20)
	hot, strangers := all[:unpackedWays-1], all[unpackedWays:]
	var first []*Principal
	for _, p := range hot {
		first = append(first, u.of(p.id(), p))
	}
	for range 3 {
		for i, p := range hot {
			if u.of(p.id(), p) != first[i] {
				t.Fatalf("%s was unpacked again", p.id())
			}
		}
		for _, p := range strangers { // each once, as by one who goes through all accounts
			if got := u.of(p.id(), p); got.Account.ID != p.id() {
				t.Fatalf("asked for %s, got %s", p.id(), got.Account.ID)
			}
		}
	}
}

func TestAnAccountThatIsNoLongerAskedForMakesRoom(t *testing.T) {
	t.Parallel()
	u := newUnpacked()
	all := ofOneSet(u, 2*unpackedWays)
	for _, half := range [][]packedPrincipal{all[:unpackedWays], all[unpackedWays:]} {
		for range 3 {
			for _, p := range half {
				u.of(p.id(), p)
			}
		}
		for _, p := range half {
			if had := u.of(p.id(), p); u.of(p.id(), p) != had {
				t.Errorf("%s is unpacked each time", p.id())
			}
		}
	}
}

func TestAChangedAccountTakesThePlaceOfWhatItWas(t *testing.T) {
	t.Parallel()
	u := newUnpacked()
	others := ofOneSet(u, unpackedWays)
	changing := others[0].id()
	for version := int64(1); version <= 5; version++ {
		p := packed(changing, version)
		if got := u.of(changing, p); got.Account.Version != version {
			t.Fatalf("version %d, got %d", version, got.Account.Version)
		}
		u.of(changing, p)
	}
	held := 0
	for i := range u.set(changing) {
		if u.set(changing)[i].held.Load() != nil {
			held++
		}
	}
	if held != 1 {
		t.Errorf("one account is held %d times", held)
	}
}
