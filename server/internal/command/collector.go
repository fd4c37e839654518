package command

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// smallHeap is the size in bytes up to which the heap may always grow before it
// is collected. A server of a few accounts has 6 MB to keep and makes 10 kB of
// garbage a token: by percent alone it would be collected twelve times a second.
// With ten thousand accounts the percent leads to more than this, so that what
// such a server takes is unchanged.
const smallHeap = 16 << 20

// keepCollectorCalm lets the heap grow by a percent that follows what there is to
// keep, from now on.
func keepCollectorCalm(cacheAccounts int) {
	least := leastPercent(cacheAccounts)
	set := least
	debug.SetGCPercent(set)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	afterEachCollection(func() {
		metrics.Read(live)
		percent := max(least, percentTo(smallHeap, live[0].Value.Uint64()))
		if percent != set {
			set = percent
			debug.SetGCPercent(set)
		}
	})
}

// leastPercent is how much the heap grows at least. On a small machine a tenth of
// the memory is saved for a hundredth of the processor. Where many accounts are
// kept, they are what the collector looks at each time, and whoever keeps them has
// the memory.
func leastPercent(cacheAccounts int) int {
	if cacheAccounts > 100_000 {
		return 120
	}
	return 60
}

// percentTo is by how much a heap of live bytes grows to be of a size, in steps of
// ten, since a new percent halts the program for a moment. It is 200 at most: a heap
// that comes to hold much is collected by it once more.
func percentTo(size, live uint64) int {
	if live == 0 || live >= size {
		return 0
	}
	return int(min((size-live)*10/live, 20)) * 10
}

// afterEachCollection calls f, one call at a time, after each collection of garbage:
// what it leaves behind is found unreachable by the next.
func afterEachCollection(f func()) {
	// Larger than what the allocator packs together with other objects, which
	// would keep it.
	left := new([4]uint64)
	runtime.AddCleanup(left, func(struct{}) {
		f()
		afterEachCollection(f)
	}, struct{}{})
}
