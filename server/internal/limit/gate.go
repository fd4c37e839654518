package limit

import (
	"container/list"
	"errors"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
)

const (
	// burst is how long requests may have to wait for their turn while the crowd
	// is younger than that: a fleet that restarts is served, a little later.
	burst = 100 * time.Millisecond
	// standing is how long they may have to wait in a crowd that stays.
	standing = time.Millisecond
	// lookAgain is how often all places are tried again while a crowd stays.
	lookAgain = 10 * time.Second
)

// ErrOverloaded is the private cause of a refusal by a Gate.
var ErrOverloaded = errors.New("limit: overloaded")

// Gate bounds the requests that are worked on at the same time, so that the
// admitted are served about as fast as ever however many there are. The others
// wait for their turn, first come, first served, but not for long: who stands
// in a queue that never empties only makes all others late. That is controlled
// delay (Nichols and Jacobson, "Controlling Queue Delay", 2012) with the
// interval of that paper, a target for a machine instead of a network, and
// refusals in place of drops.
//
// All places together are for throughput: so many share a commit. In a crowd
// that stays, fewer are worked on at a time, since each of them waits for all
// the others, and nobody waits behind many.
type Gate struct {
	clock  clock.Clock
	places int
	hold   holding

	mu      sync.Mutex
	busy    int
	queue   list.List // of *waiter, oldest first
	crowded time.Time // since when somebody has to wait, again and again
	waited  time.Time // when somebody had to wait last
	trying  bool      // all places in a crowd that stays
	tried   time.Time // when that was begun last, or the crowd
	refused int64
}

type waiter struct {
	since    time.Time
	admitted chan bool // told once, and then no more in the queue
}

// NewGate makes a gate through which as many may pass at a time. late tells how
// late the process was since it was last asked (see [Lateness]).
func NewGate(clk clock.Clock, places int, late func() time.Duration) *Gate {
	return &Gate{clock: clk, places: max(1, places), hold: holding{clock: clk, late: late, span: burst}}
}

// Enter waits for a place, which the caller gives back with Leave. It fails
// with Unavailable when there are more requests than can be worked on, after a
// tenth of a second at most. The answer to who is refused is held back with Hold.
func (g *Gate) Enter() error {
	g.mu.Lock()
	now := g.clock.Now()
	if g.queue.Len() == 0 && g.busy < g.open(now) {
		g.busy++
		g.mu.Unlock()
		return nil
	}
	if now.Sub(g.waited) >= burst {
		g.crowded, g.tried, g.trying = now, now, false
	}
	g.waited = now
	if g.busy >= g.places {
		g.trying = false
	}
	if g.stays(now) && g.queue.Len() > g.places/4 {
		g.refused++
		g.mu.Unlock()
		return fault.Unavailable(ErrOverloaded)
	}
	w := &waiter{since: now, admitted: make(chan bool, 1)}
	at := g.queue.PushBack(w)
	patience := g.patience(now)
	g.mu.Unlock()

	timer := g.clock.NewTimer(patience)
	defer timer.Stop()
	select {
	case ok := <-w.admitted:
		if ok {
			return nil
		}
	case <-timer.Chan():
		if g.giveUp(at, w) {
			return nil
		}
	}
	return fault.Unavailable(ErrOverloaded)
}

// giveUp takes a waiter out of the queue, unless it is admitted in this very
// moment.
func (g *Gate) giveUp(at *list.Element, w *waiter) (admitted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case ok := <-w.admitted:
		return ok
	default:
	}
	g.queue.Remove(at)
	g.waited = g.clock.Now()
	g.refused++
	return false
}

// Hold holds back the answer to a refused request. It may be called from
// anywhere, best where little else is held with it.
func (g *Gate) Hold() { g.hold.back() }

// Leave gives the place back: to those who have waited longest and not too long.
func (g *Gate) Leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy--
	if g.queue.Len() == 0 {
		return
	}
	now := g.clock.Now()
	g.waited = now
	patience, open := g.patience(now), g.open(now)
	for at := g.queue.Front(); at != nil && g.busy < open; at = g.queue.Front() {
		w := g.queue.Remove(at).(*waiter)
		ok := now.Sub(w.since) <= patience
		w.admitted <- ok
		if ok {
			g.busy++
		} else {
			g.refused++
		}
	}
}

// stays reports whether there is a crowd, and not just now. The caller holds mu.
func (g *Gate) stays(now time.Time) bool {
	return now.Sub(g.waited) < burst && now.Sub(g.crowded) >= burst
}

// patience is how long anybody may have waited. The caller holds mu.
func (g *Gate) patience(now time.Time) time.Duration {
	if g.stays(now) {
		return standing
	}
	return burst
}

// open is how many of the places may be taken. All of them may be tried now and
// then, until somebody has to wait all the same: the crowd may have become one
// that they can serve. The caller holds mu.
func (g *Gate) open(now time.Time) int {
	if !g.stays(now) {
		return g.places
	}
	if now.Sub(g.tried) >= lookAgain {
		g.trying, g.tried = true, now
	}
	if g.trying {
		return g.places
	}
	return max(1, g.places*3/16)
}

// Refused is how many were refused so far.
func (g *Gate) Refused() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// Waiting is how many wait for a place.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queue.Len()
}
