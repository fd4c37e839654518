package app

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/marque-id/marque/server/internal/config"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
)

// NewMasterKey is the content of a new master key file, or a further line of one.
func NewMasterKey(version int) string { return keyring.GenerateMasterKey(version) + "\n" }

// WriteMasterKey makes a master key and its file, which must not exist: what an
// old key has sealed, no new one opens.
func WriteMasterKey(cfg *config.Config) error {
	if err := ensureDir(filepath.Dir(cfg.MasterKeyFile)); err != nil {
		return fmt.Errorf("master_key_file: %w", err)
	}
	if err := WriteNewFile(cfg.MasterKeyFile, []byte(NewMasterKey(1))); err != nil {
		return fmt.Errorf("master_key_file: %w", err)
	}
	return nil
}

// wanted says which versions of the master key the database is sealed under, for
// an operator whose master key cannot be read at all. It is nil where nothing
// is sealed yet or the database cannot be asked.
func wanted(ctx context.Context, cfg *config.Config, deps Deps) error {
	url, err := cfg.DatabaseURL()
	if err != nil {
		return nil
	}
	bounded, cancel := context.WithTimeout(ctx, cfg.Database.ConnectTimeout)
	defer cancel()
	st, err := store.Open(bounded, store.Options{URL: url, ReadOnly: true, Clock: deps.Clock, Log: deps.Log})
	if err != nil {
		return nil
	}
	defer func() { _ = st.Close(ctx) }() // nothing was written
	var version int
	err = st.View(bounded, func(r *store.Reader) (err error) {
		version, err = r.MasterVersion(bounded)
		return err
	})
	if err != nil || version == 0 {
		return nil
	}
	return fmt.Errorf("the database is sealed under version %d of the master key: what is wanted is the key with the line v%d:…", version, version)
}
