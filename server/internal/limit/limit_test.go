package limit_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/limit"
)

const account = "sa_01kjwvq7k0000000000000000a"

var (
	here      = netip.MustParseAddr("192.0.2.1")
	elsewhere = netip.MustParseAddr("198.51.100.1")
)

// failures are budgets that are asked now.
type failures struct {
	*limit.Failures
	clock clock.Clock
}

func newFailures(o limit.Options) (failures, *clock.Fake) {
	clk := clockwork.NewFakeClockAt(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	o.Clock = clk
	return failures{limit.NewFailures(o), clk}, clk
}

func (f failures) Check(account string, addr netip.Addr) error {
	return f.Failures.Check(account, addr, f.clock.Now())
}

func (f failures) Fail(account string, addr netip.Addr) {
	f.Failures.Fail(account, addr, f.clock.Now())
}

// wait is what Check asks the caller to wait; 0 is to go ahead.
func wait(t *testing.T, f failures, account string, addr netip.Addr) time.Duration {
	t.Helper()
	err := f.Check(account, addr)
	if err == nil {
		return 0
	}
	var limited *fault.Error
	if !errors.As(err, &limited) || limited.Kind != fault.KindLimited || limited.RetryAfter <= 0 {
		t.Fatalf("Check returned %v", err)
	}
	return limited.RetryAfter
}

func expectWait(t *testing.T, f failures, account string, addr netip.Addr, want time.Duration) {
	t.Helper()
	if got := wait(t, f, account, addr); got != want {
		t.Errorf("%s from %s waits %v, want %v", account, addr, got, want)
	}
}

func TestTheEleventhTryWaitsExactlyUntilTheNextIsFree(t *testing.T) {
	t.Parallel()
	f, clk := newFailures(limit.Options{})
	for range 10 {
		expectWait(t, f, account, here, 0)
		f.Fail(account, here)
	}
	expectWait(t, f, account, here, 30*time.Second)
	clk.Advance(10 * time.Second)
	expectWait(t, f, account, here, 20*time.Second)
	clk.Advance(20*time.Second - time.Nanosecond)
	expectWait(t, f, account, here, time.Nanosecond)
	clk.Advance(time.Nanosecond)
	expectWait(t, f, account, here, 0)
	expectWait(t, f, account, here, 0) // looking costs nothing
	f.Fail(account, here)
	expectWait(t, f, account, here, 30*time.Second)
	clk.Advance(10 * 30 * time.Second)
	for range 10 { // all forgiven, and no more than that
		expectWait(t, f, account, here, 0)
		f.Fail(account, here)
	}
	expectWait(t, f, account, here, 30*time.Second)
}

func TestAnAddressHasABudgetForAllItsAccounts(t *testing.T) {
	t.Parallel()
	f, clk := newFailures(limit.Options{})
	for i := range 50 {
		guess := fmt.Sprintf("sa_%d", i)
		expectWait(t, f, guess, here, 0)
		f.Fail(guess, here)
	}
	expectWait(t, f, "sa_next", here, time.Second)
	expectWait(t, f, "", here, time.Second)
	expectWait(t, f, "sa_next", elsewhere, 0)
	clk.Advance(time.Second)
	expectWait(t, f, "sa_next", here, 0)
}

// The longer of the two waits is the one after which a try can pass.
func TestTheLongerWaitIsTold(t *testing.T) {
	t.Parallel()
	f, clk := newFailures(limit.Options{
		Address: limit.Budget{Burst: 2, Every: time.Minute}, Pair: limit.Budget{Burst: 1, Every: time.Second},
	})
	f.Fail(account, here)
	expectWait(t, f, account, here, time.Second)
	f.Fail(account, here)
	expectWait(t, f, account, here, time.Minute)
	clk.Advance(time.Minute)
	expectWait(t, f, account, here, 0)
}

// A guesser hammers one account for an hour; the agent itself works elsewhere.
func TestAGuesserIsThrottledAndTheTrueAgentServed(t *testing.T) {
	t.Parallel()
	f, clk := newFailures(limit.Options{})
	const tries, free = 36_000, 10 // ten a second
	passed := 0
	for i := range tries {
		if f.Check(account, here) == nil {
			f.Fail(account, here)
			passed++
		} else if i < free {
			t.Fatalf("try %d was throttled", i+1)
		}
		expectWait(t, f, account, elsewhere, 0)
		clk.Advance(100 * time.Millisecond)
	}
	if rate := float64(tries-passed) / (tries - free); rate < 0.99 {
		t.Errorf("%d of %d tries passed: only %.2f %% throttled", passed, tries, 100*rate)
	}
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"IPv4":                     {"192.0.2.1", "192.0.2.1", true},
		"IPv4 neighbours":          {"192.0.2.1", "192.0.2.2", false},
		"IPv4 mapped into IPv6":    {"192.0.2.1", "::ffff:192.0.2.1", true},
		"mapped neighbours":        {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		"one /64":                  {"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
		"two /64":                  {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		"zones":                    {"fe80::1%eth0", "fe80::2%eth1", true},
		"IPv4 is not an IPv6 /64":  {"0.0.0.0", "::", false},
		"loopbacks are two things": {"127.0.0.1", "::1", false},
	} {
		f, _ := newFailures(limit.Options{Pair: limit.Budget{Burst: 1, Every: time.Minute}})
		f.Fail(account, netip.MustParseAddr(c.a))
		if got := wait(t, f, account, netip.MustParseAddr(c.b)) > 0; got != c.same {
			t.Errorf("%s: %s and %s share a budget: %v", name, c.a, c.b, got)
		}
	}
}

// A connection without an address is still somebody.
func TestNoAddressIsAnAddress(t *testing.T) {
	t.Parallel()
	f, _ := newFailures(limit.Options{Pair: limit.Budget{Burst: 1, Every: time.Minute}})
	f.Fail(account, netip.Addr{})
	expectWait(t, f, account, netip.Addr{}, time.Minute)
	expectWait(t, f, account, here, 0)
}

func TestAccountsFromOneAddressDoNotShareTheirBudget(t *testing.T) {
	t.Parallel()
	f, _ := newFailures(limit.Options{})
	for range 10 {
		f.Fail(account, here)
	}
	expectWait(t, f, account, here, 30*time.Second)
	expectWait(t, f, "sa_neighbour", here, 0)
}

// What passed Check in the same moment is not free: it prolongs the wait.
func TestTriesOfTheSameMomentAreChargedInFull(t *testing.T) {
	t.Parallel()
	f, _ := newFailures(limit.Options{})
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() { f.Fail(account, here) })
	}
	group.Wait()
	expectWait(t, f, account, here, 31*30*time.Second)
}

// The smallest possible table: one set of eight. Whoever floods it gets the
// guesser forgotten for exactly one try.
func TestBeingPushedOutOfTheTableGivesOneTry(t *testing.T) {
	t.Parallel()
	f, _ := newFailures(limit.Options{
		Slots: 8, Address: limit.Budget{Burst: 1 << 20, Every: time.Nanosecond}, Pair: limit.Budget{Burst: 10, Every: 30 * time.Second},
	})
	for range 10 {
		f.Fail(account, here)
	}
	// A single failure of each of many others does not push him out.
	for i := range 100 {
		f.Fail(fmt.Sprintf("sa_%d", i%7), elsewhere)
	}
	expectWait(t, f, account, here, 30*time.Second)
	// Only those who owe more do.
	for i := range 8 {
		for range 30 {
			f.Fail(fmt.Sprintf("sa_%d", i), elsewhere)
		}
	}
	expectWait(t, f, account, here, 0)
	f.Fail(account, here)
	if got := wait(t, f, account, here); got < 60*time.Second {
		t.Errorf("after that one try he waits %v, less than before", got)
	}
}

func TestAStrangerIsNotHeldBackByAFullTableUnlessHeFails(t *testing.T) {
	t.Parallel()
	f, _ := newFailures(limit.Options{Slots: 8})
	for i := range 200 {
		f.Fail(fmt.Sprintf("sa_%d", i), netip.AddrFrom4([4]byte{10, 0, byte(i), 1}))
	}
	expectWait(t, f, account, here, 0)
}

func BenchmarkCheck(b *testing.B) {
	f := failures{limit.NewFailures(limit.Options{Clock: clock.System()}), clock.System()}
	b.ReportAllocs()
	for b.Loop() {
		if err := f.Check(account, here); err != nil {
			b.Fatal(err)
		}
	}
}
