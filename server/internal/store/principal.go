package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// What is read of an account that is not in memory. Where there are more
// accounts than places for them, that is a part of all token requests: so it is
// two statements, prepared once on both databases (bun would write the id into
// the text, and the database would parse it), which name no column that the
// token path does not need. All parts end with the account's id.
const (
	// A row is the account with one of its secrets, or a key with one of its
	// permissions. An account without keys costs a look into their index more,
	// which is less than a statement more.
	principalQuery = `
		SELECT a.status, a.kind, a.expires_at, a.token_lifetime, a.token_rate_limit, a.default_resource_server, a.allowed_networks,
			a.allowed_credentials, a.gen, a.version, a.created_at, a.updated_at,
			c.id, c.mac, c.expires_at, c.created_at, c.last_used_at, '', FALSE, '', ''
		FROM service_accounts AS a LEFT JOIN client_secrets AS c ON c.service_account_id = a.id AND c.deleted_at = 0
		WHERE a.deleted_at = 0 AND a.id = `
	keyQuery = `
		UNION ALL
		SELECT '', '', 0, 0, 0, '', '', '', 0, 0, 0, 0,
			k.id, k.mac, k.expires_at, k.created_at, k.last_used_at, k.allowed_networks, k.restricted,
			COALESCE(p.resource_server_id, ''), COALESCE(p.permission, '')
		FROM api_keys AS k LEFT JOIN api_key_permissions AS p ON p.api_key_id = k.id
		WHERE k.deleted_at = 0 AND k.service_account_id = `
	grantQuery = `
		SELECT ra.role_id, ro.name, ra.expires_at, COALESCE(rs.id, ''), COALESCE(rs.identifier, ''), COALESCE(rp.permission, '')
		FROM role_assignments AS ra
		JOIN roles AS ro ON ro.id = ra.role_id AND ro.deleted_at = 0
		LEFT JOIN role_permissions AS rp ON rp.role_id = ra.role_id
		LEFT JOIN resource_servers AS rs ON rs.id = rp.resource_server_id AND rs.deleted_at = 0
		WHERE ra.service_account_id = `
)

// accountReads are these statements.
type accountReads struct{ principal, grants, keyOwner *sql.Stmt }

func (s *Store) prepareAccountReads(ctx context.Context) (err error) {
	pool := s.engine.reader().DB
	if s.reads.principal, err = pool.PrepareContext(ctx, s.endedByID(principalQuery, keyQuery)); err != nil {
		return err
	}
	if s.reads.keyOwner, err = pool.PrepareContext(ctx, s.keyOwnerQuery()); err != nil {
		return err
	}
	s.reads.grants, err = pool.PrepareContext(ctx, s.endedByID(grantQuery))
	return err
}

// endedByID joins the parts of a statement, each of which ends with an id.
func (s *Store) endedByID(parts ...string) string {
	var b []byte
	for i, part := range parts {
		b = s.engine.placeholders(append(b, part...), i+1, 1)
	}
	return string(b)
}

// queryAccount runs one of the statements; before Start it is not prepared yet.
func (s *Store) queryAccount(ctx context.Context, stmt *sql.Stmt, id string, parts ...string) (*sql.Rows, error) {
	ids := make([]any, len(parts))
	for i := range ids {
		ids[i] = id
	}
	if stmt != nil {
		return stmt.QueryContext(ctx, ids...)
	}
	return s.engine.reader().DB.QueryContext(ctx, s.endedByID(parts...), ids...)
}

// loadPrincipal reads an account past the cache. It takes no transaction: a
// change that lands between two statements makes the snapshot stale anyway.
func (s *Store) loadPrincipal(ctx context.Context, id string) (packedPrincipal, error) {
	if identity.ParseID(identity.PrefixServiceAccount, id) != nil {
		return packedPrincipal{}, fault.NotFound(whatAccount) // text from outside goes no further
	}
	p, err := s.readPrincipal(ctx, id)
	if err != nil {
		return packedPrincipal{}, err
	}
	rows, err := s.readGrants(ctx, id)
	if err != nil {
		return packedPrincipal{}, err
	}
	return packPrincipal(p, s.grants.share(rows)), nil
}

func (s *Store) readPrincipal(ctx context.Context, id string) (*Principal, error) {
	rows, err := s.queryAccount(ctx, s.reads.principal, id, principalQuery, keyQuery)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up: both leave nothing
	var p *Principal
	var secrets []identity.ClientSecret
	var keys []identity.APIKey
	for rows.Next() {
		var a accountRow
		var c credentialColumns
		if err := rows.Scan(&a.Status, &a.Kind, &a.ExpiresAt, &a.TokenLifetime, &a.TokenRateLimit, &a.DefaultResourceServer, &a.AllowedNetworks,
			&a.AllowedCredentials, &a.Gen, &a.Version, &a.CreatedAt, &a.UpdatedAt,
			&c.id, &c.mac, &c.ends, &c.created, &c.used, &c.networks, &c.restricted, &c.resourceServer, &c.permission); err != nil {
			return nil, translate(err)
		}
		if a.Status == "" {
			if keys, err = c.appendKey(keys, id); err != nil {
				return nil, err
			}
			continue
		}
		if p == nil {
			if p, err = principalOf(&a, id); err != nil {
				return nil, err
			}
		}
		if c.id.Valid {
			secret, err := c.secret(id)
			if err != nil {
				return nil, err
			}
			secrets = append(secrets, secret)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, translate(err)
	}
	if p == nil {
		return nil, fault.NotFound(whatAccount)
	}
	slices.SortFunc(secrets, func(a, b identity.ClientSecret) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(keys, func(a, b identity.APIKey) int { return strings.Compare(a.ID, b.ID) })
	for i := range keys {
		slices.SortFunc(keys[i].Permissions, identity.RolePermission.Compare)
	}
	p.Secrets, p.APIKeys = secrets, keys
	return p, nil
}

// credentialColumns are those of a credential in a row of principalQuery, null
// for an account without secrets.
type credentialColumns struct {
	id                                   sql.Null[string]
	mac                                  []byte
	ends, created, used                  sql.Null[int64]
	networks, resourceServer, permission string
	restricted                           bool
}

func (c *credentialColumns) secret(accountID string) (identity.ClientSecret, error) {
	row := secretRow{ID: c.id.V, ServiceAccountID: accountID, MAC: c.mac, ExpiresAt: c.ends.V, CreatedAt: c.created.V, LastUsedAt: c.used.V}
	return row.secret()
}

// appendKey adds a key, or a permission to one that is there. Few accounts have
// more than a handful.
func (c *credentialColumns) appendKey(keys []identity.APIKey, accountID string) ([]identity.APIKey, error) {
	at := slices.IndexFunc(keys, func(k identity.APIKey) bool { return k.ID == c.id.V })
	if at < 0 {
		row := apiKeyRow{
			ID: c.id.V, ServiceAccountID: accountID, MAC: c.mac, Restricted: c.restricted, AllowedNetworks: c.networks,
			ExpiresAt: c.ends.V, CreatedAt: c.created.V, LastUsedAt: c.used.V,
		}
		key, err := row.key()
		if err != nil {
			return nil, err
		}
		at, keys = len(keys), append(keys, key)
	}
	if c.resourceServer != "" {
		keys[at].Permissions = append(keys[at].Permissions, identity.RolePermission{ResourceServerID: c.resourceServer, Permission: c.permission})
	}
	return keys, nil
}

func principalOf(row *accountRow, id string) (*Principal, error) {
	row.ID, row.Labels = id, "{}"
	a, err := row.account()
	if err != nil {
		return nil, err
	}
	return &Principal{Account: a}, nil
}

func (s *Store) readGrants(ctx context.Context, id string) ([]grantRow, error) {
	rows, err := s.queryAccount(ctx, s.reads.grants, id, grantQuery)
	if err != nil {
		return nil, translate(err)
	}
	return scanGrants(rows)
}
