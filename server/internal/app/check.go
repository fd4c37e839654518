package app

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/config"
	"github.com/marque-id/marque/server/internal/store"
)

// Check looks at the files that a configuration names, without touching the
// database. What it finds, New would refuse to start with.
func Check(cfg *config.Config, clk clock.Clock) error {
	if cfg.Dev {
		return nil // a development server makes what is missing
	}
	_, certificate := openCertificates(cfg, Deps{Clock: clk, Log: slog.New(slog.DiscardHandler)})
	_, master := masterKeys(cfg)
	url, database := cfg.DatabaseURL()
	if database == nil {
		if database = store.CheckURL(url); database != nil {
			database = fmt.Errorf("database.url: %w", database)
		}
	}
	return errors.Join(certificate, master, database)
}
