// Package clock is the one place that knows what time it is. Every other
// package is given a Clock, so that tests own the time.
package clock

import "github.com/jonboulle/clockwork"

// Clock tells the time and makes timers and tickers.
type Clock = clockwork.Clock

// Timer tells once that its time has come.
type Timer = clockwork.Timer

// Fake is a clock that only a test moves.
type Fake = clockwork.FakeClock

// System is the clock of this machine.
func System() Clock { return clockwork.NewRealClock() }
