package limit_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/limit"
)

// crowd is what became of requests at a gate, in the order in which they came.
type crowd struct {
	gate     *limit.Gate
	outcomes []chan error
}

// come sends n requests, one after the other.
func (c *crowd) come(n int) {
	for range n {
		outcome := make(chan error, 1)
		c.outcomes = append(c.outcomes, outcome)
		go func() { outcome <- c.gate.Enter() }()
		synctest.Wait()
	}
}

// expect compares how many were admitted and refused so far.
func (c *crowd) expect(t *testing.T, when string, admitted, refused int) {
	t.Helper()
	synctest.Wait()
	var a, r int
	for _, outcome := range c.outcomes {
		select {
		case err := <-outcome:
			outcome <- err
			if err == nil {
				a++
				continue
			}
			r++
			if f := fault.From(err); f.Kind != fault.KindUnavailable || f.RetryAfter <= 0 {
				t.Errorf("refused without saying when to come back: %v", err)
			}
		default:
		}
	}
	if a != admitted || r != refused {
		t.Errorf("%s: %d admitted and %d refused, want %d and %d", when, a, r, admitted, refused)
	}
}

// after lets the bubble's time pass.
func after(d time.Duration) { <-clock.System().After(d) }

const ms = time.Millisecond

// newGate makes a gate of a process that is never late.
func newGate(places int) *limit.Gate {
	return limit.NewGate(clock.System(), places, func() time.Duration { return 0 })
}

func TestGateServesABurstInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer after(time.Second) // until all have been told
		c := &crowd{gate: newGate(2)}
		c.come(6)
		c.expect(t, "at once", 2, 0)
		for done := range 4 {
			after(20 * ms)
			c.gate.Leave()
			c.expect(t, "one left", 3+done, 0)
			if err := <-c.outcomes[2+done]; err != nil {
				t.Errorf("request %d: %v", 2+done, err)
			}
			c.outcomes[2+done] <- nil
		}
		if n := c.gate.Waiting(); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}

func TestGateRefusesWhomABurstLeavesTooLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer after(time.Second) // until all have been told
		c := &crowd{gate: newGate(1)}
		c.come(3)
		after(99 * ms)
		if c.gate.Refused() != 0 || c.gate.Waiting() != 2 {
			t.Errorf("after 99 ms %d are refused and %d wait", c.gate.Refused(), c.gate.Waiting())
		}
		after(ms)
		synctest.Wait()
		if c.gate.Refused() != 2 || c.gate.Waiting() != 0 {
			t.Errorf("after 100 ms %d are refused and %d wait", c.gate.Refused(), c.gate.Waiting())
		}
		c.expect(t, "after 100 ms", 1, 2)
	})
}

// flood sends three requests each millisecond, of which one can be served, for
// a second, and tells how long the admitted had to wait once the crowd stayed.
func flood(t *testing.T, places int) (admitted int, slowest time.Duration) {
	gate := newGate(places)
	began := clock.System().Now()
	var mu sync.Mutex
	var working []time.Time
	for clock.System().Since(began) < time.Second {
		for range 3 {
			go func() {
				came := clock.System().Now()
				if gate.Enter() != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				admitted++
				working = append(working, came)
				if came.Sub(began) > 200*ms {
					slowest = max(slowest, clock.System().Since(came))
				}
			}()
		}
		after(ms)
		synctest.Wait()
		mu.Lock()
		done := len(working) > 0
		if done {
			working = working[1:]
		}
		mu.Unlock()
		if done {
			gate.Leave()
		}
	}
	after(time.Second) // who waits is refused by his own clock
	if n := gate.Waiting(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	mu.Lock()
	defer mu.Unlock()
	return admitted, slowest
}

func TestGateKeepsTheAdmittedFastInACrowdThatStays(t *testing.T) {
	t.Parallel()
	for _, places := range []int{1, 16, 64} {
		synctest.Test(t, func(t *testing.T) {
			admitted, slowest := flood(t, places)
			if slowest > 5*ms {
				t.Errorf("%d places: an admitted one waited for %v", places, slowest)
			}
			if admitted < 800 {
				t.Errorf("%d places: %d were admitted where 1000 could have been", places, admitted)
			}
		})
	}
}

func TestGateIsPatientAgainOnceTheCrowdIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer after(time.Second) // until all have been told
		c := &crowd{gate: newGate(1)}
		c.come(2)
		after(100 * ms)
		synctest.Wait() // the one that waited gives up in this very moment: let it be first
		c.come(1)
		after(5 * ms)
		synctest.Wait()
		if n := c.gate.Refused(); n != 2 {
			t.Errorf("%d are refused in a crowd that stays, want both", n)
		}
		after(100 * ms)
		c.come(1)
		after(99 * ms)
		c.gate.Leave()
		c.expect(t, "a burst after a calm moment", 2, 2)
	})
}

func TestGateOpensFewerPlacesWhileACrowdStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer after(time.Second) // until all have been told
		gate := newGate(16)
		for range 16 {
			if err := gate.Enter(); err != nil {
				t.Fatal(err)
			}
		}
		// Somebody has to wait all the time, for half a second.
		crowd := func() {
			for range 50 {
				go func() { _ = gate.Enter() }()
				after(10 * ms)
			}
		}
		crowd()
		for range 13 { // 3 of 16 places are open, so nobody gets these
			gate.Leave()
		}
		go func() { _ = gate.Enter() }()
		synctest.Wait()
		if n := gate.Waiting(); n != 1 {
			t.Errorf("%d wait, want one: 3 work, and no more may", n)
		}
		gate.Leave()
		synctest.Wait()
		if n := gate.Waiting(); n != 0 {
			t.Errorf("%d wait for a place that is open", n)
		}
		after(time.Second)
		for range 10 {
			if err := gate.Enter(); err != nil {
				t.Errorf("after the crowd: %v", err)
			}
		}
	})
}

func TestGateTriesAllPlacesNowAndThenWhileACrowdStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer after(time.Second) // until all have been told
		gate := newGate(16)
		busy := 0
		// In each moment one leaves and three come; how many work, in the end.
		crowd := func(moments int) int {
			for range moments {
				if busy > 0 {
					gate.Leave()
					busy--
				}
				admitted := make(chan bool, 3)
				for range 3 {
					go func() { admitted <- gate.Enter() == nil }()
				}
				after(10 * ms)
				synctest.Wait()
				for len(admitted) > 0 {
					if <-admitted {
						busy++
					}
				}
			}
			return busy
		}
		crowd(900)
		for busy > 3 {
			gate.Leave()
			busy--
		}
		if n := crowd(20); n > 3 {
			t.Errorf("%d work in a crowd that stays, want 3", n)
		}
		if n := crowd(90); n <= 3 {
			t.Errorf("%d work after ten seconds, want that all 16 places were tried", n)
		}
	})
}

// held is how long each of n refusals is held back that come at the same time.
func held(gate *limit.Gate, n int) (spans []time.Duration) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	came := clock.System().Now()
	for range n {
		wait.Go(func() {
			gate.Hold()
			mu.Lock()
			defer mu.Unlock()
			spans = append(spans, clock.System().Since(came))
		})
	}
	wait.Wait()
	return spans
}

func TestRefusalsAreHeldBackEachForAnotherTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := newGate(1)
		seen := map[time.Duration]bool{}
		for _, span := range held(gate, 100) {
			seen[span/(10*ms)] = true
			if span < 50*ms || span > 150*ms {
				t.Errorf("held back for %v, want about a tenth of a second", span)
			}
		}
		if len(seen) < 5 {
			t.Errorf("held back for %d different spans: they will all come again at once", len(seen))
		}
	})
}

func TestRefusalsAreHeldBackLongerWhileTheProcessIsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late := 5 * ms
		gate := limit.NewGate(clock.System(), 1, func() time.Duration { return late })
		for range 30 {
			held(gate, 1)
		}
		longest := slices.Max(held(gate, 100))
		if longest < 500*ms || longest > 900*ms {
			t.Errorf("held back for up to %v by a process that is late, want up to 0.8 s", longest)
		}
		late = 0
		for range 100 {
			held(gate, 1)
		}
		if longest := slices.Max(held(gate, 100)); longest > 150*ms {
			t.Errorf("held back for up to %v once the process is no longer late", longest)
		}
	})
}
