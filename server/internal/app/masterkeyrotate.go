package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/marque-id/marque/server/internal/config"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
)

// SurveyMasterKey opens every sealed row and tells how it went. It takes no lock
// and writes nothing, so the server may run beside it.
func SurveyMasterKey(ctx context.Context, cfg *config.Config, deps Deps) (_ keyring.Survey, err error) {
	master, st, err := openSealed(ctx, cfg, deps, store.Options{ReadOnly: true})
	if err != nil {
		return keyring.Survey{}, err
	}
	defer func() { err = errors.Join(err, st.Close(ctx)) }()
	return master.Survey(ctx, st)
}

// openSealed opens the master key, and the database beside whoever else uses it.
func openSealed(ctx context.Context, cfg *config.Config, deps Deps, o store.Options) (*keyring.MasterKeys, *store.Store, error) {
	master, err := masterKeys(cfg)
	if err != nil {
		return nil, nil, errors.Join(err, wanted(ctx, cfg, deps))
	}
	st, err := openStore(ctx, cfg, deps, o)
	if err != nil {
		return nil, nil, err
	}
	if err := refusePending(ctx, st); err != nil {
		return nil, nil, errors.Join(err, st.Close(ctx))
	}
	return master, st, nil
}

// healthy refuses to go on where a row does not open: first that is put right.
func healthy(s *keyring.Survey) error {
	if len(s.Unopenable) > 0 {
		return fmt.Errorf("nothing was changed, since %d of %d sealed row(s) do not open; the first: %w",
			len(s.Unopenable), s.Rows(), s.Unopenable[0].Reason)
	}
	if s.Rows() == 0 {
		return errors.New("nothing is sealed in this database yet: start the server first")
	}
	return nil
}

// Rotation says how far a rotation is to go.
type Rotation struct {
	Prepare bool // only add the new version to the file
	OneNode bool // no other node needs the file first
}

// RotationReport is what it did.
type RotationReport struct {
	keyring.Rewrapped
	Added    int    // the version that was added to File; 0 for none
	File     string // empty: the master key is in the environment
	Prepared bool   // To was in the file before, and no row is under it yet
	Total    int    // sealed rows
	Idle     []int  // versions that no row needs any more
}

// RotateMasterKey leads every sealed row to the newest version of the master key,
// while servers run. One that was interrupted is finished. Otherwise a new version is
// added to the file first, where no other node needs it before a row is sealed
// under it: on SQLite there is none.
//
// Only one process at a time may work on a file: two that both added version 2
// would each seal rows under a key that the other one overwrites.
func RotateMasterKey(ctx context.Context, cfg *config.Config, deps Deps, o Rotation) (report RotationReport, err error) {
	file := ""
	if !cfg.HasMasterKeyValue() {
		file = cfg.MasterKeyFile
		unlock, problem := lockMasterKey(cfg)
		if problem != nil {
			return report, problem
		}
		defer func() { err = errors.Join(err, unlock()) }()
	}
	master, st, err := openSealed(ctx, cfg, deps, store.Options{Beside: true})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, st.Close(ctx)) }()
	before, err := master.Survey(ctx, st)
	if err != nil {
		return report, err
	}
	if err := healthy(&before); err != nil {
		return report, err
	}
	report.File, report.To, report.Total = file, master.Newest(), before.Rows()
	if file != "" && before.Below(report.To) == 0 && (o.Prepare || o.OneNode || st.Dialect() == "sqlite") {
		if report.Added, err = addMasterKey(cfg); err != nil {
			return report, err
		}
		// A crash from here on leaves a version that is known and not used, as
		// --prepare does: the next run goes on with it.
		if master, err = masterKeys(cfg); err != nil {
			return report, err
		}
		report.To = report.Added
	}
	if o.Prepare {
		report.Prepared = report.Added == 0 && before.Used[report.To] == 0
		return report, nil
	}
	if report.Rewrapped, err = master.Rewrap(ctx, st); err != nil {
		return report, fmt.Errorf("%d row(s) were put under version %d, the others open with their old one; run this again: %w", report.Rows, report.To, err)
	}
	// The proof: all of it opens, and with the newest version alone.
	after, err := master.OnlyNewest().Survey(ctx, st)
	if err != nil {
		return report, err
	}
	report.Total = after.Rows()
	after.Known = master.Versions()
	report.Idle = after.Idle()
	return report, healthy(&after)
}

func lockMasterKey(cfg *config.Config) (unlock func() error, err error) {
	path, err := filepath.EvalSymlinks(cfg.MasterKeyFile)
	if err != nil {
		return func() error { return nil }, nil // what reads the file says it better
	}
	if unlock, err = lockDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("another process works on the master key file %s: wait for its end (%w)", cfg.MasterKeyFile, err)
	}
	// A run that was killed may have left a key that nothing is sealed under.
	if err := os.Remove(path + temporarySuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(fmt.Errorf("master_key_file: %w", err), unlock())
	}
	return unlock, nil
}

func addMasterKey(cfg *config.Config) (version int, err error) {
	text, err := os.ReadFile(cfg.MasterKeyFile)
	if err != nil {
		return 0, fmt.Errorf("master_key_file: %w", err)
	}
	with, version, err := keyring.AddMasterKey(string(text))
	if err != nil {
		return 0, fmt.Errorf("master_key_file: %w", err)
	}
	if err := ReplaceFile(cfg.MasterKeyFile, []byte(with)); err != nil {
		return 0, fmt.Errorf("master_key_file: version %d could not be added: %w", version, err)
	}
	return version, nil
}

// DropMasterKey takes a version out of the file that no row needs any more.
func DropMasterKey(ctx context.Context, cfg *config.Config, deps Deps, version int) (err error) {
	if cfg.HasMasterKeyValue() {
		return fmt.Errorf("the master key is in MARQUE_MASTER_KEY: take the line v%d:… out of its value yourself, once `marque master-key check` says that it is no longer needed", version)
	}
	unlock, err := lockMasterKey(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	survey, err := SurveyMasterKey(ctx, cfg, deps)
	if err != nil {
		return err
	}
	if err := healthy(&survey); err != nil {
		return err
	}
	if rows := survey.Used[version]; rows > 0 {
		return fmt.Errorf("%d row(s) are still sealed under version %d of the master key: run `marque master-key rotate` first", rows, version)
	}
	text, err := os.ReadFile(cfg.MasterKeyFile)
	if err != nil {
		return fmt.Errorf("master_key_file: %w", err)
	}
	without, err := keyring.DropMasterKey(string(text), version)
	if err != nil {
		return fmt.Errorf("the master key file %s: %w", cfg.MasterKeyFile, err)
	}
	if err := ReplaceFile(cfg.MasterKeyFile, []byte(without)); err != nil {
		return fmt.Errorf("master_key_file: %w", err)
	}
	return nil
}

// Versions writes versions as a list.
func Versions(list []int) string {
	var words []string
	for _, v := range list {
		words = append(words, fmt.Sprintf("v%d", v))
	}
	return strings.Join(words, ", ")
}
