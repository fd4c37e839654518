package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/migrate"

	"github.com/marque-id/marque/migrations"
	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

const migrationsTable = "bun_migrations"

// Migrate brings the database up to date: first the schema, then what is built
// in. It does nothing when there is nothing to do, and may run anywhere, any
// number of times, on several nodes at once.
//
// A step that was committed but not noted as applied, because of a crash
// between the two, runs again: steps are written so that they can. The lock
// is one that goes with the process; bun's own would be a row, and a killed
// process would leave it behind.
func (s *Store) Migrate(ctx context.Context) error {
	steps, err := discover()
	if err != nil {
		return err
	}
	return s.migrate(ctx, steps, (*Tx).seed)
}

func (s *Store) migrate(ctx context.Context, steps *migrate.Migrations, seed func(*Tx, context.Context, []string) error) (err error) {
	if s.options.ReadOnly || s.options.Beside {
		return errReadOnly
	}
	unlock, err := s.engine.lockSchema(ctx)
	if err != nil {
		return translate(err)
	}
	defer func() { err = errors.Join(err, unlock()) }()

	m := s.migrator(ctx, steps)
	if err := m.Init(ctx); err != nil {
		return translate(err)
	}
	group, err := m.Migrate(ctx)
	if err != nil {
		return translate(err)
	}
	var applied []string
	for i := range group.Migrations {
		applied = append(applied, group.Migrations[i].String())
	}
	return s.InTx(ctx, func(tx *Tx) error { return seed(tx, ctx, applied) })
}

// Pending names the migrations that the database still lacks.
func (s *Store) Pending(ctx context.Context) ([]string, error) {
	var applied []string
	err := s.engine.reader().NewSelect().TableExpr(migrationsTable).Column("name").Scan(ctx, &applied)
	if err != nil && !noSuchTable(err) {
		return nil, translate(err)
	}
	all, err := discover()
	if err != nil {
		return nil, err
	}
	var pending []string
	for _, step := range all.Sorted() {
		if !slices.Contains(applied, step.Name) {
			pending = append(pending, step.String())
		}
	}
	return pending, nil
}

func noSuchTable(err error) bool {
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		return pg.Code == "42P01"
	}
	return strings.Contains(err.Error(), "no such table")
}

func discover() (*migrate.Migrations, error) {
	steps := migrate.NewMigrations()
	return steps, steps.Discover(migrations.Files)
}

func (s *Store) migrator(ctx context.Context, steps *migrate.Migrations) *migrate.Migrator {
	point := func(when string) migrate.MigrationHook {
		return func(_ context.Context, _ bun.IConn, m *migrate.Migration) error {
			if s.migrationPoint != nil {
				s.migrationPoint(when + " " + m.String())
			}
			return nil
		}
	}
	return migrate.NewMigrator(s.engine.writer(), steps,
		migrate.WithTableName(migrationsTable),
		migrate.WithMarkAppliedOnSuccess(true),
		migrate.WithTemplateData(s.engine.template(ctx)),
		migrate.BeforeMigration(point("before")), migrate.AfterMigration(point("after")),
	)
}

// words are what migrations say differently on the two databases.
type words struct {
	ID           string // the type of text that sorts by its bytes
	Bytes        string // the type of bytes
	WithoutRowID string // ends a table that is stored in the order of its key

	// hasColumn asks a database that cannot say ADD COLUMN IF NOT EXISTS; nil
	// for one that can.
	hasColumn func(table, column string) (bool, error)
}

// AddColumn is the statement that adds a column unless it is there: a step may
// run twice. The answer stays true until the statement runs, since who migrates
// is alone.
func (w words) AddColumn(table, column, definition string) (string, error) {
	if w.hasColumn == nil {
		return "ALTER TABLE " + table + " ADD COLUMN IF NOT EXISTS " + column + " " + definition, nil
	}
	there, err := w.hasColumn(table, column)
	if err != nil {
		return "", err
	}
	if there {
		return "SELECT 1", nil
	}
	return "ALTER TABLE " + table + " ADD COLUMN " + column + " " + definition, nil
}

// seed makes what is built in as this release wants it: the management API and
// its permissions, and the roles. Permissions that a release withdraws stay
// until nobody can hold them any more.
func (tx *Tx) seed(ctx context.Context, applied []string) error {
	if err := tx.seedManagement(ctx); err != nil {
		return err
	}
	for _, want := range identity.BuiltInRoles() {
		if err := tx.seedRole(ctx, &want); err != nil {
			return err
		}
	}
	if tx.wrote || len(applied) > 0 {
		tx.Audit(audit.Event{
			Type: audit.SchemaMigrated, Outcome: audit.Success, Actor: audit.ActorSystem,
			Details: map[string]string{"steps": strings.Join(applied, " ")},
		})
	}
	return nil
}

func (tx *Tx) seedManagement(ctx context.Context) error {
	want := &identity.ResourceServer{
		ID: identity.ManagementResourceServerID, Identifier: identity.ManagementIdentifier,
		Name: "Marque management", Permissions: identity.ManagementPermissions(), SigningAlg: "ES256", BuiltIn: true,
	}
	have, err := tx.ResourceServer(ctx, want.ID)
	if fault.Is(err, fault.CodeNotFound) {
		return tx.InsertResourceServer(ctx, want)
	}
	if err != nil {
		return err
	}
	missing := false
	for _, p := range want.Permissions {
		at := slices.IndexFunc(have.Permissions, func(h identity.Permission) bool { return h.Name == p.Name })
		switch {
		case at < 0:
			have.Permissions, missing = append(have.Permissions, p), true
		case have.Permissions[at] != p:
			have.Permissions[at], missing = p, true
		}
	}
	if !missing {
		return nil
	}
	return tx.UpdateResourceServer(ctx, have)
}

func (tx *Tx) seedRole(ctx context.Context, want *identity.Role) error {
	have, err := tx.Role(ctx, want.ID)
	if fault.Is(err, fault.CodeNotFound) {
		return tx.InsertRole(ctx, want)
	}
	if err != nil {
		return err
	}
	slices.SortFunc(want.Permissions, identity.RolePermission.Compare)
	if have.Name == want.Name && have.Description == want.Description && slices.Equal(have.Permissions, want.Permissions) {
		return nil
	}
	want.Version = have.Version
	return tx.UpdateRole(ctx, want)
}
