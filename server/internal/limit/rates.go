package limit

import (
	"hash/maphash"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
)

const (
	// Window is the time that a quota is for.
	Window = time.Minute
	// MaxPerMinute is the highest quota: a call a microsecond, which is none.
	MaxPerMinute = 60_000_000

	rateSlots = 1 << 16 // accounts that owe something at one moment: 1 MiB
)

// Rates are the quotas of accounts that have proved who they are: each may make
// a minute's worth of calls at once, and gets them back one by one over the
// next minute (GCRA). A refused call costs nothing, so that whoever waits as
// told is served.
//
// What is kept is the share of its minute that an account owes. An account
// whose quota changes keeps its share, and none is ever told to wait longer
// than a minute.
//
// An account that owes nothing needs no memory. When the table is full all the
// same, the account with the smallest debt of a set is forgotten, and the
// newcomer owes nothing: unlike failures, calls are made by accounts that an
// operator has registered, and a newcomer must not pay for others.
type Rates struct {
	start     time.Time
	perMinute int
	table     *table
}

// NewRates allocates the quotas of one class of calls. perMinute is what an
// account gets that has no quota of its own.
func NewRates(clk clock.Clock, perMinute int) *Rates {
	return &Rates{start: clk.Now(), perMinute: within(perMinute), table: newTable(rateSlots, Budget{})}
}

// Standing is how an account stands with its quota after a call.
type Standing struct {
	Quota     int           // calls a minute; zero: no quota has been looked at
	Remaining int           // calls that would pass now
	Reset     time.Duration // until all of the quota is there again
	Wait      time.Duration // until the next call passes; zero: this one has
}

// Err is fault.Limited with the exact wait for a call that may not pass. Whoever
// writes it into a header in seconds rounds up.
func (s Standing) Err() error {
	if s.Wait > 0 {
		return fault.Limited(s.Wait)
	}
	return nil
}

// Take takes one call from the quota of an account, if there is one left.
// perMinute is the account's own quota; zero is that of all. at is now, by the
// clock of the quotas.
func (r *Rates) Take(account string, perMinute int, at time.Time) Standing {
	quota, every, tolerance := r.terms(perMinute)
	debt, taken := r.table.take(r.table.accountKey(account), every, tolerance, at.Sub(r.start))
	s := Standing{Quota: quota, Reset: debt}
	if !taken {
		s.Wait = debt - tolerance
		return s
	}
	s.Remaining = int((tolerance + every - debt) / every)
	return s
}

// Look is how an account stands with its quota; it takes nothing. Remaining and
// Wait tell whether a call would pass now.
func (r *Rates) Look(account string, perMinute int, at time.Time) Standing {
	quota, every, tolerance := r.terms(perMinute)
	debt := r.table.owes(r.table.accountKey(account), at.Sub(r.start))
	s := Standing{Quota: quota, Reset: debt}
	if debt > tolerance {
		s.Wait = debt - tolerance
		return s
	}
	s.Remaining = int((tolerance + every - debt) / every)
	return s
}

// terms are an account's calls a minute, the time for one of them, and how much it
// may owe when it makes one.
func (r *Rates) terms(perMinute int) (quota int, every, tolerance time.Duration) {
	if perMinute == 0 {
		perMinute = r.perMinute
	}
	quota = within(perMinute)
	every = Window / time.Duration(quota)
	return quota, every, time.Duration(quota-1) * every
}

func within(perMinute int) int { return min(max(perMinute, 1), MaxPerMinute) }

// accountKey tells accounts apart by 64 keyed bits.
func (t *table) accountKey(account string) uint64 {
	if k := maphash.String(t.seed, account); k != 0 {
		return k
	}
	return 1
}

// take charges a key unless it owes more than tolerance already, and gives what
// it owes then.
func (t *table) take(key uint64, every, tolerance, now time.Duration) (debt time.Duration, taken bool) {
	set, lock := t.set(key)
	defer lock.Unlock()
	e := find(set, key)
	if e.key != key {
		*e = entry{key: key}
	}
	debt = max(0, e.tat-now)
	if debt > tolerance {
		return debt, false
	}
	debt += every
	e.tat = now + debt
	return debt, true
}
