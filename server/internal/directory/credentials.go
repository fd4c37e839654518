package directory

import (
	"context"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// CredentialFilter narrows a list; zero members do not filter.
type CredentialFilter struct {
	AccountID     string
	Kind          identity.CredentialKind
	Owner         string    // of the account
	ExpiresBefore time.Time // ends, or has ended, before then
	UnusedSince   time.Time // never used, or not since then
}

// ListCredentials lists what all living accounts sign in by, of whatever kind,
// those that have ended included until they are deleted.
func (s *Service) ListCredentials(ctx context.Context, _ *token.Caller, filter CredentialFilter, ask PageRequest) (Page[identity.Credential], error) {
	var f identity.Findings
	if filter.AccountID != "" {
		f.ID("?service_account", identity.PrefixServiceAccount, filter.AccountID)
	}
	f.Text("?owner", filter.Owner, identity.MaxOwnerLength)
	if err := f.Err(); err != nil {
		return Page[identity.Credential]{}, err
	}
	filter.ExpiresBefore, filter.UnusedSince = instant(filter.ExpiresBefore), instant(filter.UnusedSince)
	l := list("credentials", filter, func(position string) bool { return identity.ParseCredentialID(position) == nil })
	return viewPage(ctx, s, l, ask, func(r *store.Reader, at store.Page) ([]identity.Credential, bool, error) {
		return r.Credentials(ctx, store.CredentialFilter(filter), at)
	}, func(c *identity.Credential) string { return c.ID })
}
