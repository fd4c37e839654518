package token

import (
	"net/netip"

	"github.com/marque-id/marque/server/internal/identity"
)

// Meta is what comes with a request beside its meaning: what the audit log keeps
// of it, and by what it is known when it is sent again.
type Meta struct {
	RequestID string
	TraceID   string
	Address   netip.Addr
	Key       identity.RequestKey
}

// Service describes and revokes tokens for callers that have signed in.
type Service struct {
	checker *Checker
	cfg     Config
}

// NewService makes the Service on top of a Checker.
func NewService(c *Checker) *Service { return &Service{checker: c, cfg: c.cfg} }
