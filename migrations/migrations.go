// Package migrations holds the schema of the database, one file per step. The
// files are text/template: what differs between PostgreSQL and SQLite is a
// value that the store fills in, so that both databases have one history.
//
// Every statement can run twice: a crash between the commit of a step and the
// note that it was applied makes the step run again.
package migrations

import "embed"

// Files are all the steps, in the order of their names.
//
//go:embed *.sql
var Files embed.FS
