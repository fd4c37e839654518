package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/config"
	"github.com/marque-id/marque/server/internal/feed"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
)

// Data is what lasts: the store, started, and the keys that open it. A server
// and the commands that change the database share it.
type Data struct {
	Store       *store.Store
	Keys        *keyring.Keyring
	Checkpoints *keyring.Checkpointer
	Feed        *feed.Hub

	clock clock.Clock
}

// OpenData opens the database and its keys. A development server makes its
// master key and brings its database up to date by itself; elsewhere both are
// decisions of an operator.
func OpenData(ctx context.Context, cfg *config.Config, deps Deps) (*Data, error) {
	return openData(ctx, cfg, deps, nil)
}

func openData(ctx context.Context, cfg *config.Config, deps Deps, committed func(int, time.Duration, error)) (_ *Data, err error) {
	master, err := masterKeys(cfg)
	if err != nil {
		return nil, errors.Join(err, wanted(ctx, cfg, deps))
	}
	st, err := openStore(ctx, cfg, deps, store.Options{Committed: committed})
	if err != nil {
		return nil, err
	}
	d := &Data{Store: st, clock: deps.Clock}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Close(ctx))
		}
	}()

	if cfg.Dev {
		if err := st.Migrate(ctx); err != nil {
			return nil, fmt.Errorf("migrate the database: %w", err)
		}
	} else if err := refusePending(ctx, st); err != nil {
		return nil, err
	}
	if d.Keys, err = keyring.Open(ctx, st, master, deps.Clock, deps.Log); err != nil {
		return nil, fmt.Errorf("open the keys with the master key: %w", err)
	}
	d.Keys.SetPolicy(keyring.Policy{MaxAge: cfg.Keys.JWKSMaxAge, RotationInterval: cfg.Keys.RotationInterval})
	d.Feed = feed.Open(feed.Options{
		Store: st, Clock: deps.Clock, Log: deps.Log, Heartbeat: cfg.Revocations.Heartbeat,
		Followers: cfg.Revocations.Followers, PerAccount: cfg.Revocations.FollowersPerAccount,
	})
	if err := st.Start(ctx); err != nil {
		return nil, fmt.Errorf("start the store: %w", err)
	}
	if err := d.Keys.Bootstrap(ctx); err != nil {
		return nil, fmt.Errorf("make the first keys: %w", err)
	}
	d.Checkpoints = keyring.NewCheckpointer(d.Keys)
	return d, nil
}

// Close vouches for what was recorded with a last checkpoint and lets go of the
// database. A crash before it leaves the last events of this run without a
// checkpoint until the next one, which covers all chains.
func (d *Data) Close(ctx context.Context) error {
	if d.Feed != nil {
		d.Feed.Close()
	}
	var problem error
	if d.Checkpoints != nil {
		if _, err := d.Checkpoints.Checkpoint(ctx); err != nil {
			problem = fmt.Errorf("sign the last audit checkpoint: %w", err)
		}
	}
	return errors.Join(problem, d.Store.Close(ctx))
}

// openStore opens the database that is configured, and nothing more. One that
// cannot be reached yet is waited for: machines start in any order.
func openStore(ctx context.Context, cfg *config.Config, deps Deps, o store.Options) (*store.Store, error) {
	var err error
	if o.URL, err = cfg.DatabaseURL(); err != nil {
		return nil, err
	}
	if !o.ReadOnly && !o.Beside && isSQLite(o.URL) {
		if err := ensureDir(cfg.DataDir); err != nil {
			return nil, fmt.Errorf("data_dir: %w", err)
		}
	}
	o.Clock, o.Log = deps.Clock, deps.Log
	o.MaxConns, o.CacheAccounts = cfg.Database.MaxConnections, cfg.CacheAccounts
	bounded, cancel := context.WithTimeout(ctx, cfg.Database.ConnectTimeout)
	defer cancel()
	for {
		st, err := store.Open(bounded, o)
		switch {
		case err == nil:
			return st, nil
		case isSQLite(o.URL) || !store.Away(err):
			return nil, fmt.Errorf("database.url: %w", err)
		}
		deps.Log.Warn("the database cannot be reached yet", slog.Any("error", err))
		retry := deps.Clock.NewTimer(connectAgain)
		select {
		case <-bounded.Done():
			retry.Stop()
			return nil, fmt.Errorf("database.url: the database could not be reached within %s (database.connect_timeout): %w", cfg.Database.ConnectTimeout, err)
		case <-retry.Chan():
		}
	}
}

// connectAgain is how often a database that is away is asked again.
const connectAgain = 500 * time.Millisecond

func isSQLite(url string) bool { return strings.HasPrefix(url, "sqlite:") }

// refusePending stops a server whose database another release has not been
// migrated to: guessing would be worse.
func refusePending(ctx context.Context, st *store.Store) error {
	pending, err := st.Pending(ctx)
	if err != nil {
		return fmt.Errorf("read the state of the migrations: %w", err)
	}
	if len(pending) > 0 {
		return fmt.Errorf("the database lacks %d migration(s), %s: run `marque migrate` first", len(pending), strings.Join(pending, ", "))
	}
	return nil
}

// Migrate brings the database up to date and tells which steps that took.
func Migrate(ctx context.Context, cfg *config.Config, deps Deps) (applied []string, err error) {
	st, err := openStore(ctx, cfg, deps, store.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close(ctx)) }()
	if applied, err = st.Pending(ctx); err != nil {
		return nil, err
	}
	return applied, st.Migrate(ctx)
}

// masterKeys loads the master key, and in development makes one first.
func masterKeys(cfg *config.Config) (*keyring.MasterKeys, error) {
	if cfg.HasMasterKeyValue() {
		keys, err := keyring.ParseMasterKeys(cfg.MasterKey.Reveal())
		if err != nil {
			return nil, fmt.Errorf("master_key: %w", err)
		}
		return keys, nil
	}
	if cfg.Dev {
		there, err := readIfThere(cfg.MasterKeyFile)
		if err != nil {
			return nil, err
		}
		if there == nil {
			if err := WriteMasterKey(cfg); err != nil {
				return nil, err
			}
		}
	}
	keys, err := keyring.LoadMasterKeys(cfg.MasterKeyFile)
	if err != nil {
		return nil, fmt.Errorf("master_key_file: %w", err)
	}
	return keys, nil
}
