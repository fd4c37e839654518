package limit

import (
	"context"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
)

const (
	minute         = time.Minute
	singlesAMinute = 10
	tallySlots     = 1024
	maxReasons     = 32
	otherReasons   = "other" // where reasons beyond maxReasons are counted
)

// Refusals decide which refusals become events of their own, so that nobody who
// is not signed in can fill the disk: at most ten a minute for each (account,
// address), none for an unknown client. The others are counted by reason, and
// once a minute the counts become one event.
//
// No more than 10,240 a minute are stored singly in all, however many accounts
// and addresses take part.
type Refusals struct {
	clock   clock.Clock
	start   time.Time
	singles *tallies

	mu     sync.Mutex
	counts map[string]int64 // at most maxReasons+1 keys
}

// NewRefusals starts with nothing counted.
func NewRefusals(clk clock.Clock) *Refusals {
	return &Refusals{
		clock: clk, start: clk.Now(), singles: newTallies(tallySlots), counts: make(map[string]int64),
	}
}

// Single reports whether a refusal is to be stored as an event of its own. When
// it is not, it has been counted. account is the id of a known service account,
// or "" when the client is unknown; reason is a word of a closed set, never
// text from the caller.
func (r *Refusals) Single(account string, addr netip.Addr, reason string) bool {
	if account != "" && r.singles.admit(account, network(addr), r.clock.Since(r.start)) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(reason, 1)
	return false
}

// count adds to a reason. The caller holds mu.
func (r *Refusals) count(reason string, n int64) {
	if _, known := r.counts[reason]; !known && (len(r.counts) >= maxReasons || reason == "") {
		reason = otherReasons
	}
	r.counts[reason] += n
}

// Run writes the counted event once a minute until ctx ends, and then a last
// one, for which write gets a context that has not ended. A failed write is
// write's to report; its counts are in the next event. A crash loses the counts
// of the running minute, and never an event that was promised.
func (r *Refusals) Run(ctx context.Context, write func(context.Context, audit.Event) error) {
	tick := r.clock.NewTicker(minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.Chan():
			_ = r.Flush(ctx, write) // the counts were kept
		case <-ctx.Done():
			_ = r.Flush(context.WithoutCancel(ctx), write) // the last words; nobody is left to retry
			return
		}
	}
}

// Flush writes what has been counted as one event, and nothing if nothing was.
// When write fails, its error is returned and the counts are kept. If it failed
// only seemingly, they are written twice: too many is the honest mistake here.
func (r *Refusals) Flush(ctx context.Context, write func(context.Context, audit.Event) error) error {
	r.mu.Lock()
	counts := r.counts
	r.counts = make(map[string]int64)
	r.mu.Unlock()
	if len(counts) == 0 {
		return nil
	}
	e := audit.Event{
		At: r.clock.Now(), Type: audit.RefusalsCounted, Outcome: audit.Success, Actor: audit.ActorSystem,
		Details: make(map[string]string, len(counts)),
	}
	for reason, n := range counts {
		e.Count += n
		e.Details[reason] = strconv.FormatInt(n, 10)
	}
	err := write(ctx, e)
	if err == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for reason, n := range counts {
		r.count(reason, n)
	}
	return err
}

// tallies count the stored refusals of each key in its running minute, in the
// same kind of array as table: fixed size, keyed hash. A full set makes room by
// the entry that has been there longest; the newcomer inherits its minute and
// its count while that minute lasts. Hence each of the entries admits at most
// ten a minute, whoever stands in it.
type tallies struct {
	hash  *table // only its key
	mu    sync.Mutex
	slots [][ways]tally
}

type tally struct {
	key   uint64 // zero: free
	since time.Duration
	n     uint8
}

func newTallies(slots int) *tallies {
	return &tallies{hash: newTable(ways, Budget{}), slots: make([][ways]tally, slots/ways)}
}

// admit reports whether the key may store one more in its minute.
func (t *tallies) admit(account string, addr netip.Addr, now time.Duration) bool {
	key := t.hash.key(account, addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	set := &t.slots[key%uint64(len(t.slots))]
	at := 0
	for i := range set {
		if set[i].key == key {
			at = i
			break
		}
		if set[i].key == 0 && set[at].key != 0 || set[i].key != 0 && set[at].key != 0 && set[i].since < set[at].since {
			at = i
		}
	}
	e := &set[at]
	if e.key == 0 || now-e.since >= minute {
		*e = tally{since: now}
	}
	e.key = key
	if e.n >= singlesAMinute {
		return false
	}
	e.n++
	return true
}
