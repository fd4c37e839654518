package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
)

// MasterVersion is the highest version of the master key that any row is sealed
// under; 0 when nothing is sealed yet.
func (r *Reader) MasterVersion(ctx context.Context) (version int, err error) {
	err = r.db.NewRaw(`SELECT COALESCE(MAX(v), 0) FROM (
		SELECT MAX(master_version) AS v FROM signing_keys UNION ALL SELECT MAX(master_version) FROM sealed_secrets) AS x`).Scan(ctx, &version)
	return version, translate(err)
}

// sealable refuses to seal under an older version than some row has: a node that
// has not noticed a rotation would bring back the need for the old key. Since
// writers take turns, none can slip in behind a rotation.
func (tx *Tx) sealable(ctx context.Context, v Sealed) error {
	newest, err := tx.MasterVersion(ctx)
	if err != nil {
		return err
	}
	if v.MasterVersion < newest {
		return fault.Unavailable(fmt.Errorf("store: the master key was rotated to version %d meanwhile; this was sealed under version %d", newest, v.MasterVersion))
	}
	return nil
}

// Rewrapping is a transaction that puts data keys under another version of the
// master key, and can do nothing else. What is in the rows stays the same, so it
// announces no change.
type Rewrapping struct {
	*Reader
	Now time.Time

	events []audit.Event
	wrote  bool
}

// Audit queues the event that records what was done.
func (w *Rewrapping) Audit(e audit.Event) {
	e.At = w.Now
	w.events = append(w.events, e)
}

// Rewrap runs fn in one write transaction, as InTx does. It is the one write
// that a process may make beside a running server on SQLite too
// ([Options.Beside]): no cache holds anything that it changes.
func (s *Store) Rewrap(ctx context.Context, fn func(w *Rewrapping) error) error {
	if s.options.ReadOnly {
		return fault.Internal(errReadOnly)
	}
	err := s.inTurn(ctx, func(db bun.Tx) error {
		w := &Rewrapping{Reader: &Reader{s, db}, Now: s.now()}
		if err := fn(w); err != nil {
			return err
		}
		switch {
		case !w.wrote && len(w.events) == 0:
			return errNothing
		case len(w.events) == 0:
			return fault.Internal(errNoEvent)
		}
		return s.appendEvents(ctx, db, w.events)
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

// SigningKey puts the data key of a signing key, found under one version, under
// that of v.
func (w *Rewrapping) SigningKey(ctx context.Context, id string, from int, v Sealed) error {
	return w.wrap(ctx, "signing_keys", "id", id, from, v)
}

// SealedSecret does the same for a secret of the server's own.
func (w *Rewrapping) SealedSecret(ctx context.Context, name string, from int, v Sealed) error {
	return w.wrap(ctx, "sealed_secrets", "name", name, from, v)
}

func (w *Rewrapping) wrap(ctx context.Context, table, key, id string, from int, v Sealed) error {
	result, err := w.db.NewRaw("UPDATE ? SET master_version = ?, wrapped_key = ? WHERE ? = ? AND master_version = ? AND ciphertext = ?",
		bun.Ident(table), v.MasterVersion, v.WrappedKey, bun.Ident(key), id, from, v.Ciphertext).Exec(ctx)
	if err != nil {
		return translate(err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return fault.Internal(errors.Join(fmt.Errorf("store: the row %s of %s is not what it was a moment ago", id, table), err))
	}
	w.wrote = true
	return nil
}
