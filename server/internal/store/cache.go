package store

import (
	"context"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
)

const (
	// askAgain is how long an unknown key stays unknown, and a known one is not
	// read past the cache.
	askAgain = time.Second
	// maxUnknown bounds the memory of what is not there.
	maxUnknown = 10_000
)

// snapshots is a bounded cache of immutable values, loaded on demand, each by
// one reader at a time. A value that was being read while a change arrived is
// given to those who were waiting for it, and not kept.
//
// There may be a million. So an entry is no object of its own, its key is part
// of the value, and the map that finds it has no pointers: the collector has
// little to look at.
type snapshots[V any] struct {
	elapsed clock.Clock
	began   time.Time // times of entries count from here
	load    func(ctx context.Context, key string) (V, error)
	keyOf   func(V) string
	keep    func(V) V // moves a value to where it is to be kept, under mu; nil: it stays where it is
	limit   int
	seed    maphash.Seed

	mu      sync.RWMutex
	places  map[uint64]int32 // where an entry is in ring, by the hash of its key
	ring    []entry[V]       // with a hand that evicts what was not used since it last came by
	hand    int
	tidied  int // the next entry to be kept anew
	untidy  int // how many are to be kept anew
	unknown map[string]time.Time
	loading map[string]*loading[V]
}

// entry is guarded by snapshots.mu, but for recent.
type entry[V any] struct {
	value  V
	read   time.Duration // when reading it last began
	recent uint32        // 1: it was used lately; atomic, since readers set it side by side
}

type loading[V any] struct {
	done  chan struct{} // closed after value and err are set
	value V
	err   error
	stale bool // guarded by snapshots.mu: a change has arrived meanwhile
}

func newSnapshots[V any](elapsed clock.Clock, limit int, load func(ctx context.Context, key string) (V, error), keyOf func(V) string) *snapshots[V] {
	return &snapshots[V]{
		elapsed: elapsed, began: elapsed.Now(), load: load, keyOf: keyOf, limit: max(limit, 1),
		seed: maphash.MakeSeed(), places: map[uint64]int32{}, unknown: map[string]time.Time{}, loading: map[string]*loading[V]{},
	}
}

func (c *snapshots[V]) now() time.Duration { return c.elapsed.Since(c.began) }

// place is where the entry with a key is in the ring. Of two keys with one hash,
// of 64 keyed bits, one at a time has an entry. The caller holds mu.
func (c *snapshots[V]) place(key string) (at int32, ok bool) {
	at, ok = c.places[maphash.String(c.seed, key)]
	return at, ok && c.keyOf(c.ring[at].value) == key
}

// find is the value in memory, which is marked as used.
func (c *snapshots[V]) find(key string) (value V, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	at, ok := c.place(key)
	if !ok {
		return value, false
	}
	e := &c.ring[at]
	if atomic.LoadUint32(&e.recent) == 0 { // mostly set already: do not make cores fight for the line
		atomic.StoreUint32(&e.recent, 1)
	}
	return e.value, true
}

// get answers from memory or loads. what is the noun of the fault for a key
// that is not there.
func (c *snapshots[V]) get(ctx context.Context, key, what string) (V, error) {
	if v, ok := c.find(key); ok {
		return v, nil
	}
	key = own(key)
	for {
		l, leader, err := c.join(key, what)
		if err != nil {
			var zero V
			return zero, err
		}
		if leader {
			return c.fill(ctx, key, l)
		}
		select {
		case <-ctx.Done():
			return l.none(), fault.Unavailable(context.Cause(ctx))
		case <-l.done:
		}
		// The failure of another caller, whose deadline may have been nearer, is
		// not ours.
		if l.err == nil || fault.Is(l.err, fault.CodeNotFound) {
			return l.value, l.err
		}
		if err := ctx.Err(); err != nil {
			return l.none(), fault.Unavailable(err)
		}
	}
}

// own copies a key that is about to be kept: it is part of a request, which
// would stay in memory with it, secret and all.
func own(key string) string { return strings.Clone(key) }

func (l *loading[V]) none() (zero V) { return zero }

// join finds the load that is under way, or makes the caller the one who loads.
func (c *snapshots[V]) join(key, what string) (l *loading[V], leader bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.place(key); ok { // loaded since the first look
		l = &loading[V]{done: make(chan struct{}), value: c.ring[at].value}
		close(l.done)
		return l, false, nil
	}
	if since, ok := c.unknown[key]; ok {
		if c.elapsed.Since(since) < askAgain {
			return nil, false, fault.NotFound(what)
		}
		delete(c.unknown, key)
	}
	if l = c.loading[key]; l != nil {
		return l, false, nil
	}
	l = &loading[V]{done: make(chan struct{})}
	c.loading[key] = l
	return l, true, nil
}

func (c *snapshots[V]) fill(ctx context.Context, key string, l *loading[V]) (V, error) {
	began := c.now()
	l.err = fault.Internal(errAbandoned) // what others see should load panic
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.loading[key] == l {
			delete(c.loading, key)
		}
		switch {
		case l.stale:
		case l.err == nil:
			c.put(key, entry[V]{value: l.value, read: began})
		case fault.Is(l.err, fault.CodeNotFound):
			c.remove(key)
			if len(c.unknown) >= maxUnknown {
				clear(c.unknown)
			}
			c.unknown[key] = c.began.Add(began)
		}
		close(l.done)
	}()
	l.value, l.err = c.load(ctx, key)
	return l.value, l.err
}

// put adds an entry; a full cache evicts one that was not used lately. The
// caller holds mu.
func (c *snapshots[V]) put(key string, e entry[V]) {
	if c.keep != nil {
		e.value = c.keep(e.value)
	}
	hash := maphash.String(c.seed, key)
	at, ok := c.places[hash]
	switch {
	case ok: // the old value, or another with the same hash
		c.untidy += tidyPerGone
	case len(c.ring) < c.limit:
		at = int32(len(c.ring))
		c.ring = append(c.ring, entry[V]{})
	default:
		for c.ring[c.hand].recent == 1 {
			c.ring[c.hand].recent = 0
			c.hand = (c.hand + 1) % len(c.ring)
		}
		at = int32(c.hand)
		delete(c.places, maphash.String(c.seed, c.keyOf(c.ring[at].value)))
		c.hand = (c.hand + 1) % len(c.ring)
		c.untidy += tidyPerGone
	}
	c.ring[at] = e
	c.places[hash] = at
	c.tidy()
}

// remove takes an entry out, if there is one; the last of the ring takes its
// place. The caller holds mu.
func (c *snapshots[V]) remove(key string) {
	at, ok := c.place(key)
	if !ok {
		return
	}
	delete(c.places, maphash.String(c.seed, key))
	last := int32(len(c.ring) - 1)
	if at != last {
		c.ring[at] = c.ring[last]
		c.places[maphash.String(c.seed, c.keyOf(c.ring[at].value))] = at
	}
	c.ring[last] = entry[V]{}
	c.ring = c.ring[:last]
	if c.hand >= int(last) {
		c.hand = 0
	}
	c.untidy += tidyPerGone
}

// tidyPerGone is how many entries are kept anew for each that has gone.
const tidyPerGone = 2

// tidy keeps some entries anew, so that what has gone leaves memory although it
// stood beside what has not. Who puts pays for what has gone since; once all
// entries were kept anew, nothing is left of it. So what has gone takes room for
// about half as many as are there, whatever comes and goes.
func (c *snapshots[V]) tidy() {
	c.untidy = min(c.untidy, len(c.ring))
	if c.keep == nil {
		return
	}
	for n := 0; n < 2*tidyPerGone && c.untidy > 0; n++ {
		if c.tidied >= len(c.ring) {
			c.tidied = 0
		}
		e := &c.ring[c.tidied]
		e.value = c.keep(e.value)
		c.tidied++
		c.untidy--
	}
}

// refresh loads the key again, unless it was read less than a second ago. The
// value in memory stays until the new one is there: a database that is away
// must not empty the cache.
func (c *snapshots[V]) refresh(ctx context.Context, key, what string) (V, error) {
	c.mu.Lock()
	at, ok := c.place(key)
	if !ok || c.loading[key] != nil || c.now()-c.ring[at].read < askAgain {
		c.mu.Unlock()
		return c.get(ctx, key, what)
	}
	key = own(key)
	c.ring[at].read = c.now() // whatever comes of it, not again within a second
	l := &loading[V]{done: make(chan struct{})}
	c.loading[key] = l
	c.mu.Unlock()
	return c.fill(ctx, key, l)
}

// forget drops one key, also from what is unknown and what is being loaded.
func (c *snapshots[V]) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
	delete(c.unknown, key)
	if l := c.loading[key]; l != nil {
		l.stale = true
		delete(c.loading, key)
	}
}

// forgetIf drops the values that match. What is being loaded or unknown may
// match once it is there, so all of that is dropped.
func (c *snapshots[V]) forgetIf(match func(V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := len(c.ring) - 1; at >= 0; at-- { // backwards: what takes a free place was looked at already
		if v := c.ring[at].value; match(v) {
			c.remove(c.keyOf(v))
		}
	}
	clear(c.unknown)
	for _, l := range c.loading {
		l.stale = true
	}
	clear(c.loading)
}
