package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/marque-id/marque/server/internal/audit"
)

// rules are what must hold in the database at any moment. Each query counts
// what breaks one.
func rules() []struct{ broken, query string } {
	return []struct{ broken, query string }{
		{"a living secret of a deleted or missing account", `
			SELECT COUNT(*) FROM client_secrets AS c LEFT JOIN service_accounts AS a ON a.id = c.service_account_id AND a.deleted_at = 0
			WHERE c.deleted_at = 0 AND a.id IS NULL`},
		{"a living API key of a deleted or missing account", `
			SELECT COUNT(*) FROM api_keys AS k LEFT JOIN service_accounts AS a ON a.id = k.service_account_id AND a.deleted_at = 0
			WHERE k.deleted_at = 0 AND a.id IS NULL`},
		{"a permission of an API key that is deleted, missing or not restricted", `
			SELECT COUNT(*) FROM api_key_permissions AS x LEFT JOIN api_keys AS k ON k.id = x.api_key_id AND k.deleted_at = 0 AND k.restricted
			WHERE k.id IS NULL`},
		{"an API key's permission that its resource server does not declare", `
			SELECT COUNT(*) FROM api_key_permissions AS x LEFT JOIN resource_server_permissions AS p
			ON p.resource_server_id = x.resource_server_id AND p.name = x.permission WHERE p.name IS NULL`},
		{"an assignment to a deleted or missing account", `
			SELECT COUNT(*) FROM role_assignments AS x LEFT JOIN service_accounts AS a ON a.id = x.service_account_id AND a.deleted_at = 0
			WHERE a.id IS NULL`},
		{"an assignment of a deleted or missing role", `
			SELECT COUNT(*) FROM role_assignments AS x LEFT JOIN roles AS r ON r.id = x.role_id AND r.deleted_at = 0
			WHERE r.id IS NULL`},
		{"a permission of a deleted or missing role", `
			SELECT COUNT(*) FROM role_permissions AS x LEFT JOIN roles AS r ON r.id = x.role_id AND r.deleted_at = 0
			WHERE r.id IS NULL`},
		{"a role's permission that its resource server does not declare", `
			SELECT COUNT(*) FROM role_permissions AS x LEFT JOIN resource_server_permissions AS p
			ON p.resource_server_id = x.resource_server_id AND p.name = x.permission WHERE p.name IS NULL`},
		{"a permission of a deleted or missing resource server", `
			SELECT COUNT(*) FROM resource_server_permissions AS x LEFT JOIN resource_servers AS s ON s.id = x.resource_server_id AND s.deleted_at = 0
			WHERE s.id IS NULL`},
		{"an introspector that is deleted or missing", `
			SELECT COUNT(*) FROM resource_server_introspectors AS x LEFT JOIN service_accounts AS a ON a.id = x.service_account_id AND a.deleted_at = 0
			WHERE a.id IS NULL`},
		{"a default resource server that is deleted or missing", `
			SELECT COUNT(*) FROM service_accounts AS a LEFT JOIN resource_servers AS s ON s.id = a.default_resource_server AND s.deleted_at = 0
			WHERE a.default_resource_server <> '' AND a.deleted_at = 0 AND s.id IS NULL`},
		{"a use of a permission by a deleted or missing account", `
			SELECT COUNT(*) FROM permission_uses AS x LEFT JOIN service_accounts AS a ON a.id = x.service_account_id AND a.deleted_at = 0
			WHERE a.id IS NULL`},
		{"a use of a permission that its resource server does not declare", `
			SELECT COUNT(*) FROM permission_uses AS x LEFT JOIN resource_server_permissions AS p
			ON p.resource_server_id = x.resource_server_id AND p.name = x.permission WHERE p.name IS NULL`},
		// An algorithm that was chosen a moment ago has its first key prepared, and
		// none that was ever active.
		{"a purpose and algorithm without exactly one active signing key", `
			SELECT COUNT(*) FROM (SELECT key_use, algorithm FROM signing_keys
			GROUP BY key_use, algorithm HAVING SUM(CASE WHEN state = 'active' THEN 1 ELSE 0 END) <> 1
			AND (key_use = 'checkpoint' OR SUM(CASE WHEN state IN ('active', 'retired') OR activated_at > 0 THEN 1 ELSE 0 END) > 0)) AS x`},
		{"an algorithm without exactly one prepared signing key", `
			SELECT COUNT(*) FROM (SELECT algorithm FROM signing_keys WHERE key_use = 'token'
			GROUP BY algorithm HAVING SUM(CASE WHEN state = 'prepared' THEN 1 ELSE 0 END) <> 1) AS x`},
		{"a resource server whose algorithm has no signing key", `
			SELECT COUNT(*) FROM resource_servers AS s WHERE s.deleted_at = 0
			AND EXISTS (SELECT 1 FROM signing_keys WHERE key_use = 'token')
			AND NOT EXISTS (SELECT 1 FROM signing_keys AS k WHERE k.key_use = 'token' AND k.algorithm = s.signing_alg)`},
		{"a revoked signing key that came back, or one without its time", `
			SELECT COUNT(*) FROM signing_keys WHERE state = 'revoked' AND revoked_at = 0 OR state <> 'revoked' AND revoked_at > 0`},
		{"a kept answer in which the text of a secret could be", `
			SELECT COUNT(*) FROM idempotency_keys AS k
			JOIN (SELECT id FROM client_secrets UNION ALL SELECT id FROM api_keys) AS c ON c.id = k.subject WHERE k.result <> ''`},
		{"a gap in the changes", `
			SELECT COALESCE(MAX(id) - MIN(id) + 1 - COUNT(*), 0) FROM changes`},
	}
}

// Check reports what must never be: orphans, a broken audit chain, heads that
// disagree with their events, more or less than one active key. It reads
// everything, in one consistent state.
func (s *Store) Check(ctx context.Context) error {
	if err := s.engine.integrity(ctx); err != nil {
		return err
	}
	return s.View(ctx, func(r *Reader) error {
		var found []error
		for _, rule := range rules() {
			var n int64
			if err := r.db.QueryRowContext(ctx, rule.query).Scan(&n); err != nil {
				return translate(err)
			}
			if n != 0 {
				found = append(found, fmt.Errorf("store: %s (%d)", rule.broken, n))
			}
		}
		report, err := audit.Verify(ctx, withoutCheckpoints(r.AuditSource(ctx)))
		if err != nil {
			return err
		}
		if !report.OK() {
			found = append(found, fmt.Errorf("store: %d chains are broken; the first: %s", report.Broken, report.First))
		}
		return errors.Join(found...)
	})
}

// withoutCheckpoints verifies the chains alone: whose signatures are to be
// trusted is not for the store to say.
func withoutCheckpoints(source audit.Source) audit.Source {
	source.Checkpoints = func(func(audit.SignedCheckpoint, error) bool) {}
	return source
}
