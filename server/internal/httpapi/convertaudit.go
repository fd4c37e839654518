package httpapi

import (
	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/directory"
)

func toAuditEvent(l *audit.Link) api.AuditEvent {
	e := &l.Event
	out := api.AuditEvent{
		ID:             e.ID,
		Chain:          l.Chain,
		Seq:            l.Seq,
		Hash:           l.Hash.String(),
		At:             e.At.UTC(),
		Type:           string(e.Type),
		Outcome:        api.AuditEventOutcome(e.Outcome),
		Reason:         present(e.Reason),
		Actor:          present(e.Actor),
		ServiceAccount: present(e.AccountID),
		Subject:        present(e.Subject),
		Credential:     present(e.CredentialID),
		Audience:       present(e.Audience),
		Scope:          present(e.Scope),
		TokenID:        present(e.TokenID),
		RequestID:      present(e.RequestID),
		TraceID:        present(e.TraceID),
		Count:          present(e.Count),
	}
	if e.Address.IsValid() {
		address := e.Address.String()
		out.Address = &address
	}
	if len(e.Details) > 0 {
		out.Details = &e.Details
	}
	return out
}

func auditEventFilter(in *api.AuditEventsListParams) directory.AuditEventFilter {
	return directory.AuditEventFilter{
		Filter: audit.Filter{
			Chain:     value(in.Chain),
			Type:      audit.Type(value(in.Type)),
			Outcome:   audit.Outcome(value(in.Outcome)),
			AccountID: value(in.ServiceAccount),
			Actor:     value(in.Actor),
			From:      value(in.Since),
			To:        value(in.Until),
		},
		Newest: value(in.Order) == api.AuditEventsListParamsOrderNewest,
	}
}
