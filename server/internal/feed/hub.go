// Package feed tells verifiers what is revoked: a snapshot of everything, and a
// stream of what comes.
//
// A [Hub] is handed each revocation by the store, in the order of commits,
// writes its event once into a ring and wakes the followers. A [Follower] is one
// stream: a reader with a place in the ring, which the edge sends from. It holds
// nothing of its own, so that ten thousand of them cost no more than their
// connections. One that reads so slowly that the ring has moved on is cut off and
// comes back with the position of its last event.
package feed

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// Options say how a hub works.
type Options struct {
	Store *store.Store
	Clock clock.Clock
	Log   *slog.Logger // nil discards

	Heartbeat  time.Duration // between two; zero: 5 s
	Followers  int           // at most; zero: 10,000
	PerAccount int           // of one account, at most; zero: 100
	Ring       int           // events that are kept for those who read slowly or come back; zero: 16,384
}

// Hub is what all followers of a node hang on.
type Hub struct {
	options Options
	closing chan struct{}
	ended   chan struct{} // closed when run has returned
	once    sync.Once

	signal  chan struct{} // that there is something pending
	waiting sync.Mutex
	pending []store.Followed

	mu        sync.Mutex // the fields below; held for moments only
	ring      []event
	first     uint64        // the oldest event that the ring holds; events are numbered from 0
	next      uint64        // the number of the event that comes next
	floor     int64         // all revocations behind this position are in the ring
	position  int64         // up to which the changes have been followed
	life      uint64        // grows when the ring begins anew: whoever is older has missed something
	beats     uint64        // heartbeats so far
	wake      chan struct{} // closed when there is something to look at
	followers map[string]int
	all       int
	counts    Stats

	snapshots snapshots

	write func(*store.Announced) []byte // an event; revokedEvent but in a test
}

// Stats are figures for metrics.
type Stats struct {
	Followers int    // that follow now
	Slow      uint64 // that were cut off because they read too slowly
	Panics    uint64 // that were caught
}

// event is one revocation as it goes over the wire.
type event struct {
	position int64
	revoked  identity.Revocation
	text     []byte
}

// Open makes a hub. It must be opened before the store is started, whose first
// word to it is what has been revoked lately.
func Open(o Options) *Hub {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 5 * time.Second
	}
	if o.Followers == 0 {
		o.Followers = 10_000
	}
	if o.PerAccount == 0 {
		o.PerAccount = 100
	}
	if o.Ring == 0 {
		o.Ring = 16_384
	}
	h := &Hub{
		options: o, closing: make(chan struct{}), ended: make(chan struct{}), signal: make(chan struct{}, 1),
		ring: make([]event, o.Ring), wake: make(chan struct{}), followers: map[string]int{}, write: revokedEvent,
	}
	o.Store.OnFollowed(h.follow)
	go h.run()
	return h
}

// Close ends all streams and takes no new ones. It returns at once; the streams
// end as soon as their connections are written to.
func (h *Hub) Close() {
	h.once.Do(func() { close(h.closing) })
	<-h.ended
}

// Stats counts.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.counts
	s.Followers = h.all
	return s
}

// follow is called by the store while it holds up others: the work is done by run.
func (h *Hub) follow(step store.Followed) {
	h.waiting.Lock()
	h.pending = append(h.pending, step)
	h.waiting.Unlock()
	select {
	case h.signal <- struct{}{}:
	default:
	}
}

func (h *Hub) run() {
	defer close(h.ended)
	ticker := h.options.Clock.NewTicker(h.options.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-h.closing:
			return
		case <-h.signal:
			h.settle()
		case <-ticker.Chan():
			h.settle()
			h.beat()
		}
	}
}

// settle puts into the ring what the store has told since. When that panics,
// something may be missing in the ring: it begins anew, and so do all followers.
func (h *Hub) settle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting.Lock()
	steps := h.pending
	h.pending = nil
	h.waiting.Unlock()
	defer func() {
		if r := recover(); r != nil {
			h.caught(r)
			h.position = steps[len(steps)-1].Position
			h.anew(h.position)
		}
	}()
	for i := range steps {
		h.take(&steps[i])
	}
}

func (h *Hub) take(step *store.Followed) {
	if step.Anew {
		h.anew(step.Floor)
	}
	for i := range step.Revoked {
		h.push(&step.Revoked[i])
	}
	h.position = step.Position
	if len(step.Revoked) > 0 {
		h.wakeAll()
	}
}

func (h *Hub) push(a *store.Announced) {
	if size := uint64(len(h.ring)); h.next-h.first == size {
		h.floor = h.ring[h.first%size].position
		h.first++
	}
	h.ring[h.next%uint64(len(h.ring))] = event{a.Position, a.Revocation, h.write(a)}
	h.next++
}

// anew empties the ring: all revocations behind floor will be put into it.
func (h *Hub) anew(floor int64) {
	h.first, h.floor = h.next, floor
	h.life++
	h.wakeAll()
}

func (h *Hub) wakeAll() {
	close(h.wake)
	h.wake = make(chan struct{})
}

func (h *Hub) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beats++
	h.wakeAll()
}

// caught notes a panic. The caller holds mu.
func (h *Hub) caught(r any) {
	h.counts.Panics++
	h.options.Log.Error("the feed of revocations has panicked and goes on", slog.Any("error", fmt.Errorf("%v\n%s", r, debug.Stack())))
}

// find is the number of the first event behind a position. The caller holds mu.
func (h *Hub) find(position int64) uint64 {
	low, high := h.first, h.next
	for low < high {
		middle := low + (high-low)/2
		if h.ring[middle%uint64(len(h.ring))].position > position {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// full is what a follower is told for whom there is no place, each one another
// time to come back, so that they do not come back together.
func (h *Hub) full(why error) error {
	return fault.Unavailable(why).After(time.Duration(1+rand.IntN(5)) * time.Second)
}

// again is when a follower should come back after its stream has ended.
func (h *Hub) again() time.Duration {
	least, most := 500*time.Millisecond, max(h.options.Heartbeat, time.Second)
	return least + rand.N(most-least)
}
