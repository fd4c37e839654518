package command

import (
	"runtime"
	"runtime/debug"
	"testing"
)

// It counts collections while much garbage is made beside little that is kept, and
// beside much.
func TestASmallHeapGrowsBeforeItIsCollected(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	keepCollectorCalm(10_000)

	held := make([][]byte, 8) // by which each makes garbage of another
	collections := func(garbage int) uint32 {
		runtime.GC() // what is left behind before is not counted
		var from, to runtime.MemStats
		runtime.ReadMemStats(&from)
		for i := range garbage >> 10 {
			held[i%len(held)] = make([]byte, 1<<10)
		}
		runtime.ReadMemStats(&to)
		return to.NumGC - from.NumGC
	}
	const garbage = 256 << 20
	if n := collections(garbage); n < 8 || n > 100 { // by 60 percent of what is kept it is 240
		t.Errorf("%d collections of 256 MiB of garbage beside a small heap, not about 30", n)
	}
	kept := make([][]byte, 40<<10)
	for i := range kept {
		kept[i] = make([]byte, 1<<10)
	}
	if n := collections(garbage); n < 7 || n > 14 { // 60 percent of 40 MiB
		t.Errorf("%d collections of 256 MiB of garbage beside 40 MiB, not about 10", n)
	}
	runtime.KeepAlive(kept)
}

func TestTheHeapOfAServerGrowsByAPercentThatFollowsWhatIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 0}, {1, 200}, {4 << 20, 200}, {6 << 20, 160}, {8 << 20, 100}, {10 << 20, 60}, {15 << 20, 0}, {16 << 20, 0}, {1 << 30, 0},
	} {
		if got := percentTo(16<<20, c.live); got != c.want {
			t.Errorf("%d bytes: %d percent, not %d", c.live, got, c.want)
		}
	}
}
