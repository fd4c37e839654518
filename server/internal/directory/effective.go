package directory

import (
	"context"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// EffectiveFilter narrows a list; zero members do not filter.
type EffectiveFilter struct {
	ResourceServerID string
	// UnusedSince leaves what could be taken away: not used since then, and held
	// for longer. A use is known to the hour; in doubt it counts as used.
	UnusedSince time.Time
}

// ListEffectivePermissions lists what an account may do, by which roles, and when
// it last did. It tells what the roles give, whether or not the account may sign
// in now. The order is that of resource servers' ids, then of names.
func (s *Service) ListEffectivePermissions(ctx context.Context, _ *token.Caller, accountID string, filter EffectiveFilter, ask PageRequest) (Page[identity.EffectivePermission], error) {
	var f identity.Findings
	if filter.ResourceServerID != "" {
		f.ID("?resource_server", identity.PrefixResourceServer, filter.ResourceServerID)
	}
	if err := f.Err(); err != nil {
		return Page[identity.EffectivePermission]{}, err
	}
	filter.UnusedSince = instant(filter.UnusedSince)
	l := list("effective permissions", []any{accountID, filter}, isEffectivePosition)
	return viewPage(ctx, s, l, ask, func(r *store.Reader, at store.Page) ([]identity.EffectivePermission, bool, error) {
		if _, err := readAccount(ctx, r, accountID); err != nil {
			return nil, false, err
		}
		server, permission, _ := strings.Cut(at.After, " ")
		after := store.EffectivePosition{ResourceServerID: server, Permission: permission}
		return r.PermissionsInEffect(ctx, accountID, store.EffectiveFilter(filter), s.clock.Now(), after, at.Size)
	}, func(p *identity.EffectivePermission) string { return p.ResourceServerID + " " + p.Permission })
}

func isEffectivePosition(position string) bool {
	server, permission, found := strings.Cut(position, " ")
	var f identity.Findings
	f.Permission("", permission)
	return found && identity.ParseID(identity.PrefixResourceServer, server) == nil && f.Err() == nil
}
