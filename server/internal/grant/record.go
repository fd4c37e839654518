package grant

import (
	"context"
	"errors"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// issuance is the record of a token. It names what the decision rests on, so
// that the store refuses to keep it when any of that has changed meanwhile.
func (a *Attempt) issuance(m *token.Minted) store.Issuance {
	e := a.event(audit.TokenIssued)
	e.Outcome = audit.Success
	e.Scope, e.TokenID = m.Scope, m.ID
	return store.Issuance{
		Event: e, AccountID: a.account, ResourceServerID: a.ResourceServer.ID,
		Snapshot: a.snapshot, Arrival: a.arrival,
	}
}

// event starts an event with what is known of the attempt so far. Nothing in it
// is text from a client that has not proved itself.
func (a *Attempt) event(t audit.Type) audit.Event {
	e := audit.Event{
		Type: t, At: a.Now, AccountID: a.account, Address: a.Request.Address,
		RequestID: known(identity.ParseID(identity.PrefixRequest, a.Request.RequestID) == nil, a.Request.RequestID),
		TraceID:   known(traceID(a.Request.TraceID), a.Request.TraceID),
	}
	e.TokenID, e.Details = a.tokenID, a.details
	if a.Client.Principal != nil {
		e.Actor, e.CredentialID = a.account, a.Client.CredentialID
	}
	if a.ResourceServer != nil {
		e.Audience = a.ResourceServer.Identifier
	}
	return e
}

func known(ok bool, s string) string {
	if ok {
		return s
	}
	return ""
}

// traceID is the trace-id of W3C Trace Context: 32 lower-case hexadecimal digits.
func traceID(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 32
}

// refused accounts for an attempt that was refused, and gives the error to
// answer with. A failure of ours is no refusal.
func (e *Endpoint) refused(ctx context.Context, t audit.Type, a *Attempt, err error) error {
	if f := fault.From(err); refusal(f) {
		reason, _ := refusalReason(a, f)
		e.declined(reason)
	}
	return e.keep(ctx, t, a, err)
}

func refusal(f *fault.Error) bool {
	return f.Kind != fault.KindInternal && f.Kind != fault.KindUnavailable
}

// keep records a refusal, or counts it, and gives the error to answer with.
func (e *Endpoint) keep(ctx context.Context, t audit.Type, a *Attempt, err error) error {
	f := fault.From(err)
	if !refusal(f) {
		return f
	}
	reason, credential := refusalReason(a, f)
	if !e.refusals.Single(a.account, a.Request.Address, reason) {
		if paced(f) {
			e.pace.counted(ctx, a.began)
		}
		return f
	}
	event := a.event(t)
	event.Outcome, event.Reason = audit.Refused, reason
	if event.CredentialID == "" {
		event.CredentialID = credential
	}
	// A refusal goes stale in no way that matters: whoever was refused asks again.
	if err := e.store.Record(ctx, store.Issuance{Event: event, Arrival: a.arrival}); err != nil {
		return err
	}
	if paced(f) {
		e.pace.recorded(ctx, a.began)
	}
	return f
}

// paced is a refusal that must not tell by its time what it does not tell by
// its words.
func paced(f *fault.Error) bool {
	return f.Code == fault.CodeInvalidClient || f.Code == fault.CodeInvalidAPIKey
}

// refusalReason is the word for the audit log, and the credential that was
// recognised but refused.
func refusalReason(a *Attempt, f *fault.Error) (reason, credential string) {
	if failure := failureOf(f); failure != nil {
		return string(failure.Reason), failure.CredentialID
	}
	if g, ok := errors.AsType[*gated](f); ok {
		return g.reason, ""
	}
	if errors.Is(f, token.ErrTooManyScopes) {
		return ruleTooManyScopes, ""
	}
	if errors.Is(f, token.ErrTooLarge) {
		return ruleTooLarge, ""
	}
	if f.Kind == fault.KindLimited {
		if a.Client.Principal != nil {
			return reasonRate, ""
		}
		return reasonThrottled, ""
	}
	return string(f.Code), ""
}

// Refuse accounts for a token request that never reached the pipeline because
// its form could not be read: it is counted, and err is given back.
func (e *Endpoint) Refuse(ctx context.Context, meta Meta, err error) error {
	return e.refused(ctx, audit.TokenRefused, &Attempt{Request: &Request{Meta: meta}}, err)
}

// RefuseCall accounts for the refusal of a call of another operation: as an
// event of its own where the caller has proved who it is, else as one more of
// the counted. It gives err back, or, when the event cannot be recorded, the
// error to answer with instead: what is not on record is not told.
func (e *Endpoint) RefuseCall(ctx context.Context, caller *token.Caller, operation string, meta Meta, err error) error {
	a := Attempt{Request: &Request{Meta: meta}, Now: e.clock.Now()}
	if caller != nil {
		a.account, a.tokenID = caller.ClientID, caller.TokenID
		a.Client = clientauth.Client{Principal: caller.Principal, CredentialID: caller.CredentialID}
		a.details = map[string]string{"operation": operation}
		if f := fault.From(err); f.Permission != "" {
			a.details["permission"] = f.Permission
		}
	}
	return e.keep(ctx, audit.APIRefused, &a, err)
}

// Used notes that a caller has made a call that needs a permission of the
// management API.
func (e *Endpoint) Used(caller *token.Caller, permission string) {
	e.store.Used(caller.ClientID, identity.ManagementResourceServerID, permission, e.clock.Now())
}
