package limit

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	ways    = 8  // entries among which a key may live
	stripes = 64 // locks
	// pageSets makes a page of 4 KiB.
	pageSets = 32
)

// table is a set-associative array of GCRA states: each key hashes to one set of
// eight entries. It is bounded from the start, and takes its memory by the page
// as keys come; pages hold no pointers.
//
// A full set makes room by its smallest debt, and the newcomer inherits that
// debt. So a debt is never forgotten cheaply: whoever is pushed out gets exactly
// one try (he is not found) and with its failure stands at least where he stood.
// To push out a debt of n failures, each of the seven other entries of its set
// must owe as much, and the set cannot be aimed at, since the hash is keyed
// anew in each process: 7/8 of the whole table must owe n failures each, at
// addresses whose own budget ends after 50. The price is paid by a stranger who
// fails for the first time in such a set: he starts with the inherited debt, and
// only those who fail pay it.
type table struct {
	seed   maphash.Seed
	budget Budget
	locks  [stripes]sync.Mutex
	sets   int
	pages  []*[pageSets][ways]entry // each under the lock of its number
}

// entry is one state. The zero key is a free entry.
type entry struct {
	key uint64
	tat time.Duration // theoretical arrival time since the start; past = nothing owed
}

func newTable(slots int, b Budget) *table {
	sets := max(1, slots/ways)
	return &table{
		seed: maphash.MakeSeed(), budget: b, sets: sets,
		pages: make([]*[pageSets][ways]entry, (sets+pageSets-1)/pageSets),
	}
}

// key tells pairs apart by 64 keyed bits; two that collide share a budget.
func (t *table) key(account string, addr netip.Addr) uint64 {
	type pair struct {
		account string
		addr    netip.Addr
	}
	if k := maphash.Comparable(t.seed, pair{account, addr}); k != 0 {
		return k
	}
	return 1
}

// set locks and returns the set of a key, and gives the lock to unlock.
func (t *table) set(key uint64) (*[ways]entry, *sync.Mutex) {
	i := t.index(key)
	page := &t.pages[i/pageSets]
	lock := &t.locks[i/pageSets%stripes]
	lock.Lock()
	if *page == nil {
		*page = new([pageSets][ways]entry)
	}
	return &(*page)[i%pageSets], lock
}

// index is the number of a key's set: by multiplying, not masking, so that any
// number of sets is used evenly.
func (t *table) index(key uint64) int { return int((key >> 32) * uint64(t.sets) >> 32) }

// wait is how long the key must wait until a try fits its budget; 0 is now.
func (t *table) wait(key uint64, now time.Duration) time.Duration {
	return max(0, t.owes(key, now)-t.tolerance())
}

// owes is what the key owes now.
func (t *table) owes(key uint64, now time.Duration) time.Duration {
	i := t.index(key)
	lock := &t.locks[i/pageSets%stripes]
	lock.Lock()
	defer lock.Unlock()
	page := t.pages[i/pageSets]
	if page == nil {
		return 0 // asking takes no memory
	}
	for _, e := range &page[i%pageSets] {
		if e.key == key {
			return max(0, e.tat-now)
		}
	}
	return 0
}

// tolerance is how far the theoretical arrival time may lie ahead of a try.
func (t *table) tolerance() time.Duration {
	return time.Duration(t.budget.Burst-1) * t.budget.Every
}

// charge adds one failure to what the key owes.
func (t *table) charge(key uint64, now time.Duration) {
	set, lock := t.set(key)
	defer lock.Unlock()
	e := find(set, key)
	e.key = key
	e.tat = max(e.tat, now) + t.budget.Every
}

// find is the entry of the key, or the one with the smallest debt.
func find(set *[ways]entry, key uint64) *entry {
	least := 0
	for i := range set {
		if set[i].key == key {
			return &set[i]
		}
		if set[i].tat < set[least].tat {
			least = i
		}
	}
	return &set[least]
}
