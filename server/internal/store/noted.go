package store

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
	"time"
)

// notedWays is how many places there are where a hash may stand.
const notedWays = 8

// noted is a bounded set of hashes without pointers and without locks. It says
// whether a use was noted in its time, such as an hour, which is part of the
// hash: so nothing need be cleared when an hour ends. A full set forgets one of
// its hashes, and what that stood for is written once more; two that collide, of
// 64 keyed bits, count as one.
type noted struct {
	seed maphash.Seed
	sets [][notedWays]atomic.Uint64 // as many as a power of two
}

// newNoted has places for one use of each of so many accounts, and some.
func newNoted(accounts int) *noted {
	sets := 1 << bits.Len(uint(accounts+accounts/2)/notedWays)
	return &noted{seed: maphash.MakeSeed(), sets: make([][notedWays]atomic.Uint64, sets)}
}

// again reports whether the same was asked before, as far as it is remembered.
func (n *noted) again(account, by, what string, since int64) bool {
	return n.seen(maphash.Comparable(n.seed, use{account, by, what}), since)
}

// lately reports whether the same was asked before within the last grain, or so.
// Each use has times of its own at which it is noted anew, so that not all are
// written at once.
func (n *noted) lately(account, by string, at time.Time, grain time.Duration) bool {
	h := maphash.Comparable(n.seed, use{account, by, ""})
	return n.seen(h, at.Add(time.Duration(h%uint64(grain))).UnixNano()/int64(grain))
}

type use struct{ account, by, what string }

func (n *noted) seen(use uint64, when int64) bool {
	key := max(1, maphash.Comparable(n.seed, [2]uint64{use, uint64(when)}))
	set := &n.sets[key%uint64(len(n.sets))]
	free := int(key>>32) % notedWays
	for i := range set {
		switch set[i].Load() {
		case key:
			return true
		case 0:
			free = i
		}
	}
	set[free].Store(key) // one of two at once may be lost: that one is written twice
	return false
}
