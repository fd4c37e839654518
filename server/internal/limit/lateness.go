package limit

import (
	"math"
	"runtime/metrics"
	"sync"
	"time"
)

// Lateness tells how late this process is: how long what could run had to wait
// for a processor since the last time that it was asked, in all but the worst
// twentieth of the cases. It is Go's own measure, so that it holds whatever the
// machine is and whoever else uses it.
type Lateness struct {
	mu     sync.Mutex
	sample [1]metrics.Sample
	before []uint64
}

// NewLateness begins to look.
func NewLateness() *Lateness {
	l := &Lateness{}
	l.sample[0].Name = "/sched/latencies:seconds"
	l.Since()
	return l
}

// Since is the lateness since the last call.
func (l *Lateness) Since() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	metrics.Read(l.sample[:])
	if l.sample[0].Value.Kind() != metrics.KindFloat64Histogram {
		return 0 // a runtime that does not tell
	}
	h := l.sample[0].Value.Float64Histogram()
	if l.before == nil {
		l.before = make([]uint64, len(h.Counts))
	}
	var total uint64
	for i, n := range h.Counts {
		total += n - l.before[i]
	}
	var late float64
	for i, worst := len(h.Counts)-1, total/20; i >= 0; i-- {
		n := h.Counts[i] - l.before[i]
		if n > worst {
			late = h.Buckets[i]
			break
		}
		worst -= n
	}
	copy(l.before, h.Counts)
	return time.Duration(math.Max(late, 0) * float64(time.Second))
}
