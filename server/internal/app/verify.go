package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/config"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
)

// VerifyAudit reads the whole record and reports what is wrong with it. It
// takes no lock and writes nothing, so the server may run beside it. kept are
// signed checkpoints that were kept elsewhere.
//
// The keys of the checkpoints are derived from private keys that the master
// key opens: who can write to the database but has not the master key cannot
// put a key of his own in their place.
func VerifyAudit(ctx context.Context, cfg *config.Config, deps Deps, kept []string) (report audit.Report, err error) {
	master, err := masterKeys(cfg)
	if err != nil {
		return report, errors.Join(err, wanted(ctx, cfg, deps))
	}
	st, err := openStore(ctx, cfg, deps, store.Options{ReadOnly: true})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, st.Close(ctx)) }()
	if err := refusePending(ctx, st); err != nil {
		return report, err
	}
	keys, err := keyring.Open(ctx, st, master, deps.Clock, deps.Log)
	if err != nil {
		return report, fmt.Errorf("open the keys with the master key: %w", err)
	}
	err = st.View(ctx, func(r *store.Reader) error {
		source := r.AuditSource(ctx)
		source.Open, source.Kept = keys.OpenCheckpoint, kept
		report, err = audit.Verify(ctx, source)
		return err
	})
	return report, err
}
