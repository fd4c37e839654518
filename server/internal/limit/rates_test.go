package limit_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/limit"
)

// rates are quotas that are asked now.
type rates struct {
	*limit.Rates
	clock clock.Clock
}

func newRates(perMinute int) (rates, *clock.Fake) {
	clk := clockwork.NewFakeClockAt(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	return rates{limit.NewRates(clk, perMinute), clk}, clk
}

func (r rates) Take(account string, perMinute int) limit.Standing {
	return r.Rates.Take(account, perMinute, r.clock.Now())
}

func (r rates) Look(account string, perMinute int) limit.Standing {
	return r.Rates.Look(account, perMinute, r.clock.Now())
}

func expectStanding(t *testing.T, got, want limit.Standing) {
	t.Helper()
	if got != want {
		t.Errorf("standing %+v, want %+v", got, want)
	}
}

func TestAMinutesWorthPassesAtOnceAndComesBackOneByOne(t *testing.T) {
	t.Parallel()
	r, clk := newRates(600) // one in 100 ms
	const every = 100 * time.Millisecond
	for n := range 600 {
		expectStanding(t, r.Take(account, 0), limit.Standing{Quota: 600, Remaining: 599 - n, Reset: time.Duration(n+1) * every})
	}
	over := limit.Standing{Quota: 600, Reset: time.Minute, Wait: every}
	expectStanding(t, r.Take(account, 0), over)
	expectStanding(t, r.Take(account, 0), over) // being refused costs nothing
	clk.Advance(every - 1)
	expectStanding(t, r.Take(account, 0), limit.Standing{Quota: 600, Reset: time.Minute - every + 1, Wait: 1})
	clk.Advance(1)
	expectStanding(t, r.Take(account, 0), limit.Standing{Quota: 600, Reset: time.Minute})
	expectStanding(t, r.Take(account, 0), over)
	clk.Advance(time.Hour) // and no more than a minute's worth is saved up
	for range 600 {
		expectStanding(t, limit.Standing{Wait: r.Take(account, 0).Wait}, limit.Standing{})
	}
	expectStanding(t, r.Take(account, 0), over)
}

func TestTheWaitIsExactAndToldAsAFault(t *testing.T) {
	t.Parallel()
	r, clk := newRates(7) // a rate that does not divide a minute
	for range 7 {
		if err := r.Take(account, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		var limited *fault.Error
		err := r.Take(account, 0).Err()
		if !errors.As(err, &limited) || limited.Kind != fault.KindLimited || limited.RetryAfter <= 0 {
			t.Fatalf("got %v", err)
		}
		clk.Advance(limited.RetryAfter - 1)
		if r.Take(account, 0).Wait != 1 {
			t.Fatal("the wait was not exact")
		}
		clk.Advance(1)
		if err := r.Take(account, 0).Err(); err != nil {
			t.Fatalf("after waiting as told: %v", err)
		}
	}
}

func TestAccountsDoNotShareTheirQuota(t *testing.T) {
	t.Parallel()
	r, _ := newRates(1)
	r.Take(account, 0)
	expectStanding(t, r.Take(account, 0), limit.Standing{Quota: 1, Reset: time.Minute, Wait: time.Minute})
	expectStanding(t, r.Take("sa_other", 0), limit.Standing{Quota: 1, Reset: time.Minute})
}

func TestAnAccountsOwnQuotaReplacesTheCommonOne(t *testing.T) {
	t.Parallel()
	r, _ := newRates(60)
	for range 2 {
		expectStanding(t, limit.Standing{Wait: r.Take(account, 2).Wait}, limit.Standing{})
	}
	expectStanding(t, r.Take(account, 2), limit.Standing{Quota: 2, Reset: time.Minute, Wait: 30 * time.Second})
	// Raised, it still owes its whole minute, which is now over much sooner.
	expectStanding(t, r.Take(account, 6000), limit.Standing{Quota: 6000, Reset: time.Minute, Wait: 10 * time.Millisecond})
	// Lowered, it waits no longer than the new quota says.
	expectStanding(t, r.Take(account, 1), limit.Standing{Quota: 1, Reset: time.Minute, Wait: time.Minute})
}

func TestQuotasOutOfRangeAreBrought(t *testing.T) {
	t.Parallel()
	for given, want := range map[int]int{-5: 1, 0: 60, limit.MaxPerMinute + 1: limit.MaxPerMinute} {
		r, _ := newRates(60)
		if s := r.Take(account, given); s.Quota != want || s.Wait != 0 {
			t.Errorf("%d: %+v", given, s)
		}
	}
}

// Calls at the same moment are counted exactly.
func TestConcurrentCallsTakeExactlyTheQuota(t *testing.T) {
	t.Parallel()
	r, _ := newRates(500)
	var passed atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				if r.Take(account, 0).Wait == 0 {
					passed.Add(1)
				}
			}
		})
	}
	group.Wait()
	if passed.Load() != 500 {
		t.Errorf("%d of 1,600 calls passed, want 500", passed.Load())
	}
}

// More accounts at one moment than are remembered: nobody is refused who has
// not used up its own quota, and memory does not grow.
func TestAFullTableRefusesNoNewcomer(t *testing.T) {
	t.Parallel()
	r, _ := newRates(2)
	for i := range 200_000 {
		if s := r.Take(fmt.Sprintf("sa_%d", i), 0); s.Wait != 0 {
			t.Fatalf("account %d waits %v on its first call", i, s.Wait)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	r := rates{limit.NewRates(clock.System(), limit.MaxPerMinute), clock.System()}
	accounts := make([]string, 1024)
	for i := range accounts {
		accounts[i] = fmt.Sprintf("sa_01kjwvq7k000000000000%05d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if s := r.Take(accounts[i%len(accounts)], 0); s.Wait > time.Minute {
			b.Fatal(s)
		}
	}
}

func TestLookingTakesNothingAndForetells(t *testing.T) {
	t.Parallel()
	r, clk := newRates(3)
	for left := 3; left >= 0; left-- {
		for range 5 {
			s := r.Look("a", 0)
			if s.Quota != 3 || s.Remaining != left || (s.Err() != nil) != (left == 0) {
				t.Fatalf("%d left: %+v", left, s)
			}
		}
		if got := r.Take("a", 0); (got.Err() == nil) != (left > 0) || left > 0 && got.Remaining != left-1 {
			t.Fatalf("%d left, taken: %+v", left, got)
		}
	}
	looked, taken := r.Look("a", 0), r.Take("a", 0)
	if looked != taken || looked.Wait != 20*time.Second {
		t.Errorf("looked %+v, taken %+v", looked, taken)
	}
	if s := r.Look("b", 60); s.Quota != 60 || s.Remaining != 60 || s.Reset != 0 {
		t.Errorf("a stranger with a quota of its own: %+v", s)
	}
	clk.Advance(20 * time.Second)
	if s := r.Look("a", 0); s.Err() != nil || s.Remaining != 1 {
		t.Errorf("after the wait: %+v", s)
	}
}
