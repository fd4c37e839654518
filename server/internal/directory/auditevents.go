package directory

import (
	"context"
	"strconv"
	"strings"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// AuditEventFilter narrows the audit log; zero members do not filter.
type AuditEventFilter struct {
	audit.Filter
	Newest bool // newest first instead of oldest first
}

// ListAuditEvents pages through the record: chains in the order of their
// opening, events of a chain in the order of their places. Each item carries
// chain, place and hash, so that a reader can check what it was given. A page
// may be short, even empty, and still have a next one, since one call reads a
// bounded part of the log.
func (s *Service) ListAuditEvents(ctx context.Context, _ *token.Caller, filter AuditEventFilter, ask PageRequest) (Page[audit.Link], error) {
	var none Page[audit.Link]
	if err := filter.check(); err != nil {
		return none, err
	}
	l := list("audit events", filter, isAuditPosition)
	at, err := l.open(ask)
	if err != nil {
		return none, err
	}
	query := store.AuditPage{Size: at.Size, Newest: filter.Newest}
	if at.After != "" {
		query.After = auditPosition(at.After)
	}
	var out Page[audit.Link]
	err = s.store.View(ctx, func(r *store.Reader) error {
		items, next, err := r.AuditEvents(ctx, filter.Filter, query)
		if err != nil {
			return err
		}
		out = Page[audit.Link]{Items: items}
		if next != nil {
			out.NextToken = l.token(next.Chain + ":" + strconv.FormatInt(next.Seq, 10))
		}
		return nil
	})
	return out, err
}

func (filter *AuditEventFilter) check() error {
	var f identity.Findings
	if filter.Chain != "" {
		f.ID("?chain", identity.PrefixAuditChain, filter.Chain)
	}
	if filter.Type != "" && !filter.Type.Known() {
		f.Add("?type", "is no type of audit event")
	}
	if filter.Outcome != "" && filter.Outcome != audit.Success && filter.Outcome != audit.Refused {
		f.Add("?outcome", "must be %s or %s", audit.Success, audit.Refused)
	}
	if filter.AccountID != "" {
		f.ID("?service_account", identity.PrefixServiceAccount, filter.AccountID)
	}
	if filter.Actor != "" && filter.Actor != audit.ActorSystem {
		f.ID("?actor", identity.PrefixServiceAccount, filter.Actor)
	}
	filter.From, filter.To = instant(filter.From), instant(filter.To)
	return f.Err()
}

func isAuditPosition(position string) bool {
	chain, text, _ := strings.Cut(position, ":")
	seq, err := strconv.ParseInt(text, 10, 64)
	return err == nil && seq >= 0 && strconv.FormatInt(seq, 10) == text &&
		identity.ParseID(identity.PrefixAuditChain, chain) == nil
}

// auditPosition reads what isAuditPosition accepts.
func auditPosition(position string) store.AuditPosition {
	chain, text, _ := strings.Cut(position, ":")
	seq, _ := strconv.ParseInt(text, 10, 64)
	return store.AuditPosition{Chain: chain, Seq: seq}
}
