package token

import (
	"context"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// Revoke ends one token (RFC 7009). An account may revoke its own tokens, and
// who may tokens:revoke any. What is not a living token of ours (garbage,
// another issuer's, expired) is nothing to revoke, which is success; so is a
// token that has been revoked before, and neither writes anything.
//
// Revocation does not ask whether our view of revocations is fresh: stopping
// something must work when everything else is in doubt.
func (s *Service) Revoke(ctx context.Context, caller *Caller, raw string, meta Meta) error {
	v, err := s.checker.verify(raw)
	if err != nil {
		return nil // unknown: RFC 7009 section 2.2 wants success
	}
	c := &v.claims
	if s.cfg.Clock.Now().Unix() >= c.ExpiresAt {
		return nil
	}
	if c.ClientID != caller.ClientID {
		if !caller.Has(identity.PermTokensRevoke) {
			return fault.New(fault.KindInvalid, fault.CodeUnauthorizedClient,
				"the token was issued to another client; revoking it needs the permission %s", identity.PermTokensRevoke)
		}
		s.cfg.Store.Used(caller.ClientID, identity.ManagementResourceServerID, identity.PermTokensRevoke, s.cfg.Clock.Now())
	}
	return s.cfg.Store.InTx(ctx, func(tx *store.Tx) error {
		revoked, err := tx.RevokeToken(ctx, c.TokenID, c.ClientID, c.Audience, c.Expires())
		if err != nil || !revoked {
			return err
		}
		// Row and event commit together: after a crash here there are both or
		// neither, and the caller, who has no answer, asks again.
		tx.Audit(audit.Event{
			Type: audit.TokenRevoked, Outcome: audit.Success,
			Actor: caller.ClientID, CredentialID: caller.CredentialID, TokenID: caller.TokenID,
			AccountID: c.ClientID, Subject: c.TokenID, Audience: c.Audience,
			Address: meta.Address, RequestID: meta.RequestID, TraceID: meta.TraceID,
		})
		return nil
	})
}

// Read gives the claims of a token of ours, expired or revoked or not; nil for
// anything else.
func (s *Service) Read(raw string) *Claims {
	v, err := s.checker.verify(raw)
	if err != nil {
		return nil
	}
	claims := v.claims
	return &claims
}
