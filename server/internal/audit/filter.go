package audit

import "time"

// Filter selects events; zero members select everything.
type Filter struct {
	Chain     string    // one chain
	Type      Type      // exactly this type
	Outcome   Outcome   // exactly this outcome
	AccountID string    // the service account that the event concerns
	Actor     string    // who did it
	From      time.Time // at this time or later
	To        time.Time // before this time
}

// Matches reports whether the event of a chain is selected. Queries must agree
// with it.
func (f *Filter) Matches(chain string, e *Event) bool {
	return (f.Chain == "" || f.Chain == chain) &&
		(f.Type == "" || f.Type == e.Type) &&
		(f.Outcome == "" || f.Outcome == e.Outcome) &&
		(f.AccountID == "" || f.AccountID == e.AccountID) &&
		(f.Actor == "" || f.Actor == e.Actor) &&
		(f.From.IsZero() || !e.At.Before(f.From)) &&
		(f.To.IsZero() || e.At.Before(f.To))
}
