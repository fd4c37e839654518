// Package audit is the record that cannot be quietly changed: the closed list
// of event types, the canonical bytes of an event, the hash chain that joins
// them, signed checkpoints over the heads of all chains, the verification of
// it all, and the gathered group commit by which issuance events reach disk.
//
// The package holds no database and no keys. The store gives events their
// places inside its transactions; the keyring signs checkpoints.
package audit

import (
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/marque-id/marque/server/internal/fault"
)

// Outcome is whether the decision that an event records was yes or no.
type Outcome string

// The outcomes.
const (
	Success Outcome = "success"
	Refused Outcome = "refused"
)

// ActorSystem is the actor of what the server does by itself.
const ActorSystem = "system"

// Event is one decision. Zero members are left out of the canonical bytes.
//
// No member may hold a secret or a token, and none may hold text from a caller
// who is not signed in, except as a validated id or a hash.
type Event struct {
	ID           string            // evt_…; [Head.Next] makes one when empty
	At           time.Time         // UTC, microseconds
	Type         Type              // from the closed list
	Outcome      Outcome           // success or refused
	Reason       string            // why it was refused: a fault code or another word of a closed set
	Actor        string            // client_id of the caller, ActorSystem, or "" when nobody was signed in
	AccountID    string            // the service account that it concerns
	Subject      string            // id of the resource that was touched: role, resource server, secret, key
	CredentialID string            // the credential that was used
	Audience     string            // identifier of the resource server that a token is for
	Scope        string            // permissions in a token, space-separated
	TokenID      string            // jti
	Address      netip.Addr        // where the call came from
	RequestID    string            // req_…, the same as in the answer and in the logs
	TraceID      string            // W3C trace id, 32 hexadecimal digits
	Count        int64             // of a counted event: how many
	Details      map[string]string // what else matters for this type; small
}

// Normalize returns the event as it will be stored: time in UTC and whole
// microseconds, address without zone and unmapped, and text that every
// database takes (valid UTF-8, no control characters; what is not becomes
// U+FFFD). It is idempotent. Columns must be filled from the normalized event,
// that is from [Link.Event], or they would differ from the canonical bytes.
func (e Event) Normalize() Event {
	e.At = e.At.UTC().Truncate(time.Microsecond)
	e.Address = e.Address.Unmap().WithZone("")
	for _, s := range []*string{
		&e.ID, &e.Reason, &e.Actor, &e.AccountID, &e.Subject, &e.CredentialID,
		&e.Audience, &e.Scope, &e.TokenID, &e.RequestID, &e.TraceID,
	} {
		if !clean(*s) {
			*s = cleaned(*s)
		}
	}
	if len(e.Details) == 0 {
		e.Details = nil
		return e
	}
	for k, v := range e.Details {
		if v == "" || !clean(k) || !clean(v) {
			e.Details = cleanedDetails(e.Details)
			break
		}
	}
	return e
}

// Validate refuses an event that would stand in the record without meaning:
// an unlisted type, an unknown outcome, a refusal without a reason, a date
// that RFC 3339 cannot write, a negative count.
func (e *Event) Validate() error {
	switch {
	case !e.Type.Known():
		return fault.Internal(errorf("event type %q is not in the closed list", e.Type))
	case e.Outcome != Success && e.Outcome != Refused:
		return fault.Internal(errorf("event outcome %q is neither success nor refused", e.Outcome))
	case e.Outcome == Refused && e.Reason == "":
		return fault.Internal(errorf("a refused %s has no reason", e.Type))
	case e.At.Year() < 1 || e.At.Year() > 9999:
		return fault.Internal(errorf("event time is outside the years 1 to 9999"))
	case e.Count < 0:
		return fault.Internal(errorf("event count is negative"))
	}
	return nil
}

// clean reports whether s can be stored as it is.
func clean(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			return utf8.ValidString(s) && !strings.ContainsFunc(s, isControl)
		}
	}
	return true
}

func cleaned(s string) string {
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return utf8.RuneError
		}
		return r // an invalid byte arrives here as U+FFFD already
	}, s)
}

// cleanedDetails copies, since the map belongs to the caller. Of two keys that
// become one the greater value stays, whatever the order of the map.
func cleanedDetails(in map[string]string) map[string]string {
	out := make(map[string]string, len(in))
	for k, v := range in {
		if k, v = cleaned(k), cleaned(v); v > out[k] {
			out[k] = v
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

func isControl(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }
