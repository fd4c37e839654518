package limit

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
)

const (
	// longest is how long refusals are held back at most, on the average. With
	// the time that one may have waited for its turn no answer takes a second.
	longest = 550 * time.Millisecond
	// tooLate is how late the process may be before refusals are held back longer.
	tooLate = 500 * time.Microsecond
)

// holding holds back refusals: who comes again without a pause would otherwise
// be refused as fast as the machine can, and it could do nothing else. While
// there are so many that the process gets late by refusing, they are held back
// ever longer, and the processor is for those who are admitted. Each is held
// back for another time, lest all of them come again at once.
type holding struct {
	clock clock.Clock
	late  func() time.Duration // since it was last asked

	mu     sync.Mutex
	span   time.Duration // that refusals are held back, on the average
	looked time.Time     // when that was thought over last
}

// back returns when the answer may go out.
func (h *holding) back() {
	span := h.average()
	<-h.clock.After(span/2 + rand.N(span))
}

// average follows the lateness: up by a quarter where the process is late, down
// by a twentieth where it is not, ten times a second at most.
func (h *holding) average() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.clock.Now(); now.Sub(h.looked) >= burst {
		h.looked = now
		if h.late() > tooLate {
			h.span = min(h.span*5/4, longest)
		} else {
			h.span = max(h.span*19/20, burst)
		}
	}
	return h.span
}
