package main

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers that database/sql opens
	_ "modernc.org/sqlite"
)

// population writes what would take hours over HTTP straight into the database
// of a server that is stopped: copies of rows that the server itself has made,
// under other ids. Copies of a client secret keep its MAC, so that all accounts
// sign in with one secret.
type population struct {
	db       *sql.DB
	postgres bool
}

// openPopulation opens the database of the installation in dir, or the one at url.
func openPopulation(dir, url string) (*population, error) {
	if url != "" {
		db, err := sql.Open("pgx", url)
		return &population{db, true}, err
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "marque.db")+"?_pragma=synchronous(off)&_pragma=cache_size(-200000)")
	return &population{db, false}, err
}

// id is an SQL expression for the id of the n-th copy: the prefix and digits,
// which are digits of base32 too. The 7 in front keeps clear of ids that are made.
func (p *population) id(prefix string) string {
	if p.postgres {
		return "'" + prefix + "_7' || lpad(n::text, 25, '0')"
	}
	return "printf('" + prefix + "_7%025d', n)"
}

// idOf is what id gives for n.
func idOf(prefix string, n int) string { return fmt.Sprintf("%s_7%025d", prefix, n) }

// clone inserts copies 0 to count-1 of the row that the condition selects, with
// other values, which are SQL expressions over n, in some columns.
func (p *population) clone(ctx context.Context, table, condition string, count int, other map[string]string) error {
	rows, err := p.db.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return err
	}
	columns, err := rows.Columns()
	_ = rows.Close()
	if err != nil {
		return err
	}
	for name := range maps.Keys(other) {
		if !slices.Contains(columns, name) {
			return fmt.Errorf("%s has no column %s", table, name)
		}
	}
	values := make([]string, len(columns))
	for i, name := range columns {
		if values[i] = other[name]; values[i] == "" {
			values[i] = "t." + name
		}
	}
	series := fmt.Sprintf("WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n < %d)", count-1)
	_, err = p.db.ExecContext(ctx, fmt.Sprintf("%s INSERT INTO %s (%s) SELECT %s FROM series CROSS JOIN %s AS t WHERE %s",
		series, table, strings.Join(columns, ", "), strings.Join(values, ", "), table, condition))
	return err
}

// accounts makes count copies of an account with its secret and its roles, and
// tells how many a second that were.
func (p *population) accounts(ctx context.Context, of string, count int) (perSecond float64, err error) {
	began := time.Now()
	account := p.id("sa")
	for _, table := range []struct {
		name, condition string
		other           map[string]string
	}{
		{"service_accounts", "t.id = '" + of + "'", map[string]string{"id": account, "name": "'copy-' || n"}},
		{"client_secrets", "t.service_account_id = '" + of + "'", map[string]string{"id": p.id("sec"), "service_account_id": account}},
		{"role_assignments", "t.service_account_id = '" + of + "'", map[string]string{"service_account_id": account}},
	} {
		if err := p.clone(ctx, table.name, table.condition, count, table.other); err != nil {
			return 0, fmt.Errorf("%s: %w", table.name, err)
		}
	}
	if p.postgres { // as the server's own housekeeping does in time
		if _, err := p.db.ExecContext(ctx, "ANALYZE"); err != nil {
			return 0, err
		}
	}
	return float64(count) / time.Since(began).Seconds(), nil
}

// rolesAtAnAPI is how many roles of one account give something at one API: more
// names than that make a token too large for many servers' header limits.
const rolesAtAnAPI = 50

// roles gives an account count roles of its own, copies of one role, spread
// over as many APIs as that takes, copies of one API.
func (p *population) roles(ctx context.Context, account, role, api string, count int) error {
	server := p.id("rs")
	of := func(column, id string) string { return "t." + column + " = '" + id + "'" }
	apis := (count + rolesAtAnAPI - 1) / rolesAtAnAPI
	of50 := strings.ReplaceAll(server, "n::text", fmt.Sprintf("(n / %d)::text", rolesAtAnAPI))
	if !p.postgres {
		of50 = strings.ReplaceAll(server, ", n)", fmt.Sprintf(", n / %d)", rolesAtAnAPI))
	}
	for _, table := range []struct {
		name, condition string
		count           int
		other           map[string]string
	}{
		{"resource_servers", of("id", api), apis, map[string]string{"id": server, "identifier": "'https://api-' || n || '.example.com'", "name": "'api-' || n"}},
		{"resource_server_permissions", of("resource_server_id", api), apis, map[string]string{"resource_server_id": server}},
		{"roles", of("id", role), count, map[string]string{"id": p.id("role"), "name": "'role-' || n"}},
		{"role_permissions", of("role_id", role), count, map[string]string{"role_id": p.id("role"), "resource_server_id": of50}},
		{"role_assignments", of("service_account_id", account) + " AND " + of("role_id", role), count, map[string]string{"role_id": p.id("role")}},
	} {
		if err := p.clone(ctx, table.name, table.condition, table.count, table.other); err != nil {
			return fmt.Errorf("%s: %w", table.name, err)
		}
	}
	return nil
}
