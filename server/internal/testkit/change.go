package testkit

import (
	"context"
	"testing"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/store"
)

// Change runs a write together with an event of the given type, without which
// the store would refuse it.
func Change(t testing.TB, s *store.Store, typ audit.Type, fn func(ctx context.Context, tx *store.Tx) error) {
	t.Helper()
	err := s.InTx(t.Context(), func(tx *store.Tx) error {
		if err := fn(t.Context(), tx); err != nil {
			return err
		}
		tx.Audit(audit.Event{Type: typ, Outcome: audit.Success, Actor: audit.ActorSystem})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
