package limit_test

import (
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

func TestGateServesABurstInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		defer after(time.Second) // until all have been told
		c := &crowd{gate: limit.NewGate(clock.System(), 2)}
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
		c := &crowd{gate: limit.NewGate(clock.System(), 1)}
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
		c.expect(t, "before they are told", 1, 0)
		after(100 * ms) // who is refused is kept for a moment
		c.expect(t, "after they are told", 1, 2)
	})
}

// flood sends three requests each millisecond, of which one can be served, for
// a second, and tells how long the admitted had to wait once the crowd stayed.
func flood(t *testing.T, places int) (admitted int, slowest time.Duration) {
	gate := limit.NewGate(clock.System(), places)
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
		c := &crowd{gate: limit.NewGate(clock.System(), 1)}
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
		gate := limit.NewGate(clock.System(), 16)
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
		for range 10 { // 6 of 16 places are open, so nobody gets these
			gate.Leave()
		}
		go func() { _ = gate.Enter() }()
		synctest.Wait()
		if n := gate.Waiting(); n != 1 {
			t.Errorf("%d wait, want one: 6 work, and no more may", n)
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
