package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/identity"
)

// CommitBatch is the commit of a group of issuances, without the gathering.
func (s *Store) CommitBatch(ctx context.Context, batch []*Issuance, outcomes []error) error {
	return s.commitBatch(ctx, batch, outcomes)
}

// MigrateUpTo is Migrate of a release whose last step is the named one. The
// resource server that is built in is written with the columns of the first
// step, since this release knows columns that the database does not have yet.
func (s *Store) MigrateUpTo(ctx context.Context, last string) error {
	all, err := discover()
	if err != nil {
		return err
	}
	steps := migrate.NewMigrations()
	for _, step := range all.Sorted() {
		if step.Name <= last {
			steps.Add(step)
		}
	}
	return s.migrate(ctx, steps, func(tx *Tx, ctx context.Context, applied []string) error {
		_, err := tx.db.NewRaw(`INSERT INTO resource_servers
			(id, identifier, name, token_lifetime_max, signing_alg, built_in, version, created_at, updated_at, deleted_at)
			VALUES (?, ?, 'Marque management', 0, 'ES256', TRUE, 1, 1, 1, 0)`,
			identity.ManagementResourceServerID, identity.ManagementIdentifier).Exec(ctx)
		if err != nil {
			return err
		}
		err = tx.writeResourceServerLists(ctx, &identity.ResourceServer{
			ID: identity.ManagementResourceServerID, Permissions: identity.ManagementPermissions(),
		})
		if err != nil {
			return err
		}
		for _, role := range identity.BuiltInRoles() {
			if err := tx.seedRole(ctx, &role); err != nil {
				return err
			}
		}
		tx.Audit(audit.Event{
			Type: audit.SchemaMigrated, Outcome: audit.Success, Actor: audit.ActorSystem,
			Details: map[string]string{"steps": strings.Join(applied, " ")},
		})
		return nil
	})
}

// Sum is a hash over all rows of a query, in their order.
func (s *Store) Sum(ctx context.Context, query string) (sum [32]byte, n int, err error) {
	var rows []map[string]any
	if err := s.engine.reader().NewRaw(query).Scan(ctx, &rows); err != nil {
		return sum, 0, err
	}
	return sha256.Sum256(fmt.Append(nil, rows)), len(rows), nil // maps print in the order of their keys
}

// AtMigration calls fn before and after the statements of each migration.
func (s *Store) AtMigration(fn func(point string)) { s.migrationPoint = fn }

// CachedPrincipals counts the accounts held in memory.
func (s *Store) CachedPrincipals() int {
	s.principals.mu.RLock()
	defer s.principals.mu.RUnlock()
	return len(s.principals.ring)
}

// Exec runs SQL behind the store's back.
func (s *Store) Exec(ctx context.Context, query string, args ...any) error {
	_, err := s.engine.writer().NewRaw(query, args...).Exec(ctx)
	return err
}

// InsertQuietly adds an account as another node would whose announcement has
// not arrived yet.
func (s *Store) InsertQuietly(ctx context.Context, a *identity.ServiceAccount) error {
	_, err := s.engine.writer().NewInsert().Model(accountToRow(a)).Exec(ctx)
	return err
}

// CatchUp is what the follower does when it wakes up.
func (s *Store) CatchUp(ctx context.Context) error { return s.catchUp(ctx) }

// PingFollower opens a connection of the follower, if there is none yet.
func (s *Store) PingFollower(ctx context.Context) error {
	return s.engine.followerReader().PingContext(ctx)
}

// CountChangesOtherThan counts the changes of all kinds but one.
func (s *Store) CountChangesOtherThan(ctx context.Context, kind ChangeKind) (int, error) {
	n, err := s.engine.reader().NewSelect().Model((*change)(nil)).Where("kind <> ?", string(kind)).Count(ctx)
	return int(n), err
}

// Translate makes a fault of a driver's error.
func Translate(err error) error { return translate(err) }

// FlushUses writes the last uses now.
func (s *Store) FlushUses(ctx context.Context) error { return s.flushUses(ctx) }

// ManyUses is how many are written without waiting for the interval.
const ManyUses = manyUses

// UsesWake reports, once, whether the uses are to be written without waiting.
func (s *Store) UsesWake() bool {
	select {
	case <-s.usesAreMany:
		return true
	default:
		return false
	}
}

// WaitingUses counts the credentials whose last use is not written yet.
func (s *Store) WaitingUses() int {
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	return len(s.uses.credentials)
}

// WaitingPermissionUses counts the uses of permissions that are not written yet.
func (s *Store) WaitingPermissionUses() int {
	s.permissionUses.mu.Lock()
	defer s.permissionUses.mu.Unlock()
	return len(s.permissionUses.waiting)
}

// LoadPrincipal reads an account past the cache.
func (s *Store) LoadPrincipal(ctx context.Context, id string) (*Principal, error) {
	p, err := s.loadPrincipal(ctx, id)
	if err != nil {
		return nil, err
	}
	return p.principal(), nil
}

// AnnounceDue is what the background does every second.
func (s *Store) AnnounceDue(ctx context.Context) error { return s.announceDue(ctx) }

// AddRevokedID puts a token into memory, as loading a row does.
func (s *Store) AddRevokedID(jti string, expiry int64, audience string) bool {
	id, ok := parseTokenID(jti)
	if ok {
		s.revocations.add(id, expiry, audience)
	}
	return ok
}

// Writer is a connection for rows by the million.
func (s *Store) Writer() *bun.DB { return s.engine.writer() }

// ForgetRevoked empties the memory of revocations.
func (s *Store) ForgetRevoked() { s.revocations = newRevocations() }

// LoadRevoked reads them anew.
func (s *Store) LoadRevoked(ctx context.Context) error { return s.loadRevocations(ctx) }
