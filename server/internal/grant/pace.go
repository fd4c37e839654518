package grant

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
)

const (
	// beat is the grain of the time that a failed sign-in takes. It is longer
	// than recording usually takes and than timers are coarse.
	beat = 5 * time.Millisecond
	// maxPace bounds the wait when the database has been slow.
	maxPace = 250 * time.Millisecond
)

// pace makes all failed sign-ins take equally long. That of a known account
// waits for its event to become durable, that of an unknown client is only
// counted; without pace the difference would tell which ids exist.
//
// Each is answered on a beat counted from its arrival. Which one is decided by
// how long it took or, where nothing was recorded, by how long one of the last
// recordings took, picked at random: so the two agree also while the database
// is slow, and not in the median alone.
type pace struct {
	clock  clock.Clock
	count  atomic.Uint64
	recent [32]atomic.Int64 // how long the last recorded ones took
}

// recorded holds back a refusal that began at the given time and is on record.
func (p *pace) recorded(ctx context.Context, began time.Time) {
	d := p.clock.Since(began)
	p.recent[(p.count.Add(1)-1)%uint64(len(p.recent))].Store(int64(d))
	p.until(ctx, began, d)
}

// counted holds back a refusal that began at the given time and was counted.
func (p *pace) counted(ctx context.Context, began time.Time) {
	d := p.clock.Since(began)
	if n := min(p.count.Load(), uint64(len(p.recent))); n > 0 {
		d = max(d, time.Duration(p.recent[rand.Uint64N(n)].Load()))
	}
	p.until(ctx, began, d)
}

// until waits for the first beat that is not before d has passed since began.
func (p *pace) until(ctx context.Context, began time.Time, d time.Duration) {
	d = (d + beat - 1).Truncate(beat)
	rest := min(d-p.clock.Since(began), maxPace)
	if rest <= 0 {
		return
	}
	t := p.clock.NewTimer(rest)
	defer t.Stop()
	select {
	case <-t.Chan():
	case <-ctx.Done():
	}
}
