package store

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// CredentialFilter selects credentials; zero members select all.
type CredentialFilter struct {
	AccountID     string
	Kind          identity.CredentialKind
	Owner         string    // of the account
	ExpiresBefore time.Time // ends, or has ended, before then
	UnusedSince   time.Time // never used, or not since then
}

// credentialTables are the tables of credentials by kind. Each has the columns
// that credentialRow names.
func credentialTables() []struct {
	kind   identity.CredentialKind
	prefix identity.Prefix
	table  string
} {
	return []struct {
		kind   identity.CredentialKind
		prefix identity.Prefix
		table  string
	}{
		{identity.KindClientSecret, identity.PrefixClientSecret, "client_secrets"},
		{identity.KindAPIKey, identity.PrefixAPIKey, "api_keys"},
	}
}

type credentialRow struct {
	ID               string
	Kind             string
	ServiceAccountID string
	Hint             string
	ExpiresAt        int64
	CreatedAt        int64
	LastUsedAt       int64
}

func (r *credentialRow) credential() (identity.Credential, error) {
	return identity.Credential{
		ID: r.ID, Kind: identity.CredentialKind(r.Kind), ServiceAccountID: r.ServiceAccountID, Hint: r.Hint,
		ExpiresAt: fromMicros(r.ExpiresAt), CreatedAt: fromMicros(r.CreatedAt), LastUsedAt: fromMicros(r.LastUsedAt),
	}, nil
}

// Credentials lists undeleted credentials of all living accounts, whatever their
// kind, in the order of ids.
func (r *Reader) Credentials(ctx context.Context, f CredentialFilter, p Page) (items []identity.Credential, more bool, err error) {
	if err := storable(f.AccountID, string(f.Kind), f.Owner, p.After); err != nil {
		return nil, false, err
	}
	// Each table gives no more than the page needs, in order, so that none is read
	// to its end for the sake of another.
	var parts []string
	var args []any
	for _, t := range credentialTables() {
		if f.Kind != "" && f.Kind != t.kind {
			continue
		}
		conditions, values := f.conditions(p)
		parts = append(parts, "SELECT * FROM (SELECT id, ? AS kind, service_account_id, hint, expires_at, created_at, last_used_at FROM "+
			t.table+" WHERE "+conditions+" ORDER BY id LIMIT ?) AS "+t.table)
		args = append(append(append(args, string(t.kind)), values...), p.size()+1)
	}
	if len(parts) == 0 {
		return nil, false, nil // no table has that kind
	}
	query := "SELECT * FROM (" + strings.Join(parts, " UNION ALL ") + ") AS credentials ORDER BY id LIMIT ?"
	var rows []credentialRow
	if err := r.db.NewRaw(query, append(args, p.size()+1)...).Scan(ctx, &rows); err != nil {
		return nil, false, translate(err)
	}
	return page(rows, p, (*credentialRow).credential)
}

// conditions are the filter in SQL, for a table of credentials.
func (f *CredentialFilter) conditions(p Page) (conditions string, args []any) {
	all := []string{"deleted_at = 0"}
	add := func(condition string, values ...any) {
		all, args = append(all, condition), append(args, values...)
	}
	if p.After != "" {
		add("id > ?", p.After)
	}
	if f.AccountID != "" {
		add("service_account_id = ?", f.AccountID)
	}
	if f.Owner != "" {
		add("service_account_id IN (SELECT id FROM service_accounts WHERE owner = ? AND deleted_at = 0)", f.Owner)
	}
	if !f.ExpiresBefore.IsZero() {
		add("expires_at > 0 AND expires_at < ?", micros(f.ExpiresBefore))
	}
	if !f.UnusedSince.IsZero() {
		since := micros(f.UnusedSince)
		add("last_used_at < ? AND created_at < ?", since, since) // what is younger has had no time to be used
	}
	return strings.Join(all, " AND "), args
}

const whatCredential = "credential"

// AnyCredential is an undeleted credential of whatever account and kind, live or
// expired.
func (r *Reader) AnyCredential(ctx context.Context, id string) (*identity.Credential, error) {
	if !known(id) {
		return nil, fault.NotFound(whatCredential)
	}
	for _, t := range credentialTables() {
		var rows []credentialRow
		query := "SELECT id, ? AS kind, service_account_id, hint, expires_at, created_at, last_used_at FROM " + t.table + " WHERE id = ? AND deleted_at = 0"
		if err := r.db.NewRaw(query, string(t.kind), id).Scan(ctx, &rows); err != nil {
			return nil, translate(err)
		}
		if len(rows) > 0 {
			c, err := rows[0].credential()
			return &c, err
		}
	}
	return nil, fault.NotFound(whatCredential)
}

// LiveCredentials are the first of the credentials of an account that work at
// the given time, in the order of ids, with how many there are.
func (r *Reader) LiveCredentials(ctx context.Context, accountID string, now time.Time, first int) (list []identity.Credential, n int, err error) {
	for p := (Page{Size: 200}); ; {
		items, more, err := r.Credentials(ctx, CredentialFilter{AccountID: accountID}, p)
		if err != nil {
			return nil, 0, err
		}
		for i := range items {
			if c := &items[i]; c.ExpiresAt.IsZero() || now.Before(c.ExpiresAt) {
				if n++; n <= first {
					list = append(list, *c)
				}
			}
		}
		if !more {
			return list, n, nil
		}
		p.After = items[len(items)-1].ID
	}
}

// RevokeCredential ends a credential for good, whatever its kind and whether it
// has expired or not, and with it the tokens that were issued for it.
func (tx *Tx) RevokeCredential(ctx context.Context, c *identity.Credential) error {
	for _, t := range credentialTables() {
		if t.kind != c.Kind {
			continue
		}
		result, err := tx.db.NewRaw("UPDATE "+t.table+" SET deleted_at = ? WHERE id = ? AND deleted_at = 0", micros(tx.Now), c.ID).Exec(ctx)
		if err != nil {
			return translate(err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return one(orNoRows(err), whatCredential)
		}
		tx.written(ChangedServiceAccount, c.ServiceAccountID)
		if err := tx.dropKeyPermissions(ctx, c.ID); err != nil { // of an API key; others have none
			return err
		}
		return tx.revoked(ctx, identity.RevokedCredential, c.ID, 0)
	}
	return fault.NotFound(whatCredential)
}

func orNoRows(err error) error {
	if err == nil {
		return sql.ErrNoRows
	}
	return err
}
