package httpapi

import (
	"context"

	"github.com/marque-id/marque/server/internal/api"
)

// AuditEventsList pages through the record.
func (s *server) AuditEventsList(ctx context.Context, r api.AuditEventsListRequestObject) (api.AuditEventsListResponseObject, error) {
	page, err := s.Directory.ListAuditEvents(ctx, callOf(ctx).caller, auditEventFilter(&r.Params),
		pageOf(r.Params.PageSize, r.Params.PageToken))
	if err != nil {
		return nil, err
	}
	return api.AuditEventsList200JSONResponse{
		Items: each(page.Items, toAuditEvent), NextPageToken: present(page.NextToken),
	}, nil
}
