package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/marque-id/marque/server/internal/fault"
)

var (
	errReadOnly   = errors.New("store: opened for reading only")
	errNotStarted = fault.Unavailable(errors.New("store: not started"))
)

// uniqueViolation and referenceViolation are what a database says when a row
// would break a rule of the schema. Writers turn them into what they mean.
type (
	uniqueViolation    struct{ error }
	referenceViolation struct{ error }
)

// translate turns an error of a driver into a fault. A database that cannot be
// reached, written to or waited for is Unavailable: it passes by itself.
func translate(err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) || errors.As(err, new(uniqueViolation)) || errors.As(err, new(referenceViolation)) {
		return err
	}
	// Refused at sign-in is as good as not reached, whatever the reason is.
	if errors.As(err, new(*pgconn.ConnectError)) {
		return fault.Unavailable(err)
	}
	if pg := new(pgconn.PgError); errors.As(err, &pg) {
		return translatePostgres(pg.Code, err)
	}
	if lite := new(sqlite.Error); errors.As(err, &lite) {
		return translateSQLite(lite.Code(), err)
	}
	if passing(err) {
		return fault.Unavailable(err)
	}
	return fault.Internal(err)
}

// translatePostgres reads the SQLSTATE.
func translatePostgres(code string, err error) error {
	switch {
	case code == "23505":
		return uniqueViolation{err}
	case code == "23503":
		return referenceViolation{err}
	case code == "22021", code == "22P05": // a character that the encoding has no place for: NUL, broken UTF-8
		return errText.Because(err)
	case code == "25006", code == "57014", code == "55P03", code == "25P03", // read-only, cancelled, lock, idle
		strings.HasPrefix(code, "08"), strings.HasPrefix(code, "40"), // connection; deadlock, serialization
		strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "58"): // resources, shutdown, system
		return fault.Unavailable(err)
	}
	return fault.Internal(err)
}

// translateSQLite reads the extended result code.
func translateSQLite(code int, err error) error {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return uniqueViolation{err}
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return referenceViolation{err}
	}
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PROTOCOL:
		return fault.Unavailable(err)
	}
	return fault.Internal(err)
}

func passing(err error) bool {
	for _, e := range []error{
		context.DeadlineExceeded, context.Canceled, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone,
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var network net.Error
	return errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		strings.Contains(err.Error(), "conn closed") // pgx: a connection that has died before
}

var errText = fault.Invalid("text holds a NUL or is not valid UTF-8")

// storable refuses text that one of the databases would refuse, so that both
// answer alike, and before anything has been written.
func storable(texts ...string) error {
	for _, t := range texts {
		if strings.IndexByte(t, 0) >= 0 || !utf8.ValidString(t) {
			return errText
		}
	}
	return nil
}

// known reports whether id can be the id of anything. What cannot is not there.
func known(id string) bool { return id != "" && storable(id) == nil }

// nameTaken says what a unique violation means to the caller of an insert.
func nameTaken(err error, what string) error {
	if errors.As(err, new(uniqueViolation)) {
		return fault.New(fault.KindConflict, fault.CodeNameTaken, "this %s is taken", what).Because(err)
	}
	return settled(err)
}

// settled is for errors whose violations have no meaning of their own: then
// the caller has broken a rule that it should have checked.
func settled(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err // its meaning is known; the violation is its cause
	}
	if errors.As(err, new(uniqueViolation)) || errors.As(err, new(referenceViolation)) {
		return fault.Internal(err)
	}
	return err
}

// one is the outcome of reading a single row.
func one(err error, what string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.NotFound(what)
	}
	return translate(err)
}

func errSizeOf(column, id string) error {
	return fmt.Errorf("store: %s of %s has the wrong size", column, id)
}
