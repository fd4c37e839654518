// Package limit keeps guessers out without locking anybody else out, and keeps
// one account from taking what belongs to all: budgets of failed sign-ins per
// address and per (account, address) before authentication, quotas of calls per
// account after it, and the rule which refusals are recorded one by one and
// which are only counted.
//
// All memory is allocated at the start and never grows.
package limit

import (
	"net/netip"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
)

// Budget allows Burst failures at once and one more every Every thereafter.
type Budget struct {
	Burst int
	Every time.Duration
}

// Options tune the failure budgets; zero members take the defaults.
type Options struct {
	Clock   clock.Clock // required
	Address Budget      // of all failures from an address: 50, then one a second
	Pair    Budget      // of failures of one account from an address: 10, then one in 30 s
	Slots   int         // budgets remembered of each of the two sorts: 65,536 (1 MiB each)
}

// Failures are the budgets of failed sign-ins. An IPv6 address stands for its
// /64, which is what one host is given.
//
// A budget belongs to where the failures come from: a guesser elsewhere cannot
// lock an account out, and no success, there or here, gives a guesser anything
// back. Only time does.
//
// All times are monotonic, so that setting the clock of the machine neither
// resets nor prolongs a budget.
type Failures struct {
	start   time.Time
	address *table
	pair    *table
}

// NewFailures allocates the budgets.
func NewFailures(o Options) *Failures {
	if o.Address == (Budget{}) {
		o.Address = Budget{Burst: 50, Every: time.Second}
	}
	if o.Pair == (Budget{}) {
		o.Pair = Budget{Burst: 10, Every: 30 * time.Second}
	}
	if o.Slots <= 0 {
		o.Slots = 1 << 16
	}
	return &Failures{
		start:   o.Clock.Now(),
		address: newTable(o.Slots, o.Address), pair: newTable(o.Slots, o.Pair),
	}
}

// Check stands before authentication. It returns fault.Limited, with the exact
// time until the next try, when the budget of the address or that of the
// account at this address is used up. It takes nothing from either: a sign-in
// that succeeds costs nothing. account is the client_id as presented, true or
// not, or ""; at is now, by the clock of the budgets.
//
// An address whose own budget is used up waits with all its accounts, the
// honest ones behind the same address too. The wait is exact: whoever writes it
// into a header in seconds rounds up.
//
// Tries that are being checked at the same moment all pass, so a guesser with n
// connections gets up to n-1 tries more than the budget; they are charged all
// the same, and he waits so much longer.
func (f *Failures) Check(account string, addr netip.Addr, at time.Time) error {
	now := at.Sub(f.start)
	addr = network(addr)
	wait := f.address.wait(f.address.key("", addr), now)
	if account != "" {
		wait = max(wait, f.pair.wait(f.pair.key(account, addr), now))
	}
	if wait > 0 {
		return fault.Limited(wait)
	}
	return nil
}

// Fail stands after a failed authentication and charges both budgets. It is not
// called for a refusal by Check, which would let a limited caller never return.
func (f *Failures) Fail(account string, addr netip.Addr, at time.Time) {
	now := at.Sub(f.start)
	addr = network(addr)
	f.address.charge(f.address.key("", addr), now)
	if account != "" {
		f.pair.charge(f.pair.key(account, addr), now)
	}
}

// network is what an address counts as: an IPv4 address itself (mapped into
// IPv6 or not), an IPv6 address as its /64.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, err := a.Prefix(64)
		if err != nil { // 64 bits fit into any IPv6 address
			return a
		}
		return p.Addr()
	}
	return a
}
