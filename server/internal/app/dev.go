package app

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
)

// Development tells where a development server keeps what its user needs. All
// paths are absolute; every file is readable by its owner alone.
type Development struct {
	Issuer      string
	DataDir     string
	CAFile      string
	ClientID    string // of the administrator
	SecretFile  string // the administrator's secret, without a line end
	ProfileFile string
}

// profiles is the file by which clients find their server. They look for it in
// marque/config.json below XDG_CONFIG_HOME, which the data directory can be.
type profiles struct {
	Current  string             `json:"current"`
	Profiles map[string]profile `json:"profiles"`
}

type profile struct {
	Issuer           string `json:"issuer"`
	CAFile           string `json:"ca_file"`
	ClientID         string `json:"client_id"`
	ClientSecretFile string `json:"client_secret_file"`
}

const devProfile = "dev"

// prepareDevelopment sees to an administrator whose secret is in the data
// directory, and writes the profile, whose issuer changes with the port.
func (a *App) prepareDevelopment(ctx context.Context) (*Development, error) {
	d := &Development{
		Issuer:      a.issuer,
		DataDir:     a.cfg.DataDir,
		CAFile:      a.cfg.InDataDir(caCertificateFile),
		SecretFile:  a.cfg.InDataDir("admin-secret"),
		ProfileFile: a.cfg.InDataDir("marque", "config.json"),
	}
	if err := ensureDir(filepath.Dir(d.ProfileFile)); err != nil {
		return nil, err
	}
	works, err := a.knownAdministrator(ctx, d)
	if err != nil {
		return nil, err
	}
	if !works {
		if err := a.bootstrapDevelopment(ctx, d); err != nil {
			return nil, err
		}
	}
	content, err := json.MarshalIndent(profiles{devProfile, map[string]profile{
		devProfile: {Issuer: d.Issuer, CAFile: d.CAFile, ClientID: d.ClientID, ClientSecretFile: d.SecretFile},
	}}, "", "  ")
	if err != nil {
		return nil, err
	}
	return d, WriteFile(d.ProfileFile, append(content, '\n'))
}

// knownAdministrator reports whether the administrator of the profile can sign
// in with the secret of the secret file.
func (a *App) knownAdministrator(ctx context.Context, d *Development) (bool, error) {
	content, err := readIfThere(d.ProfileFile)
	if err != nil || content == nil {
		return false, err
	}
	secret, err := readIfThere(d.SecretFile)
	if err != nil || secret == nil {
		return false, err
	}
	var p profiles
	if err := json.Unmarshal(content, &p); err != nil {
		return false, fmt.Errorf("%s: %w; delete it to have it written anew", d.ProfileFile, err)
	}
	d.ClientID = p.Profiles[devProfile].ClientID
	principal, err := a.data.Store.Principal(ctx, d.ClientID)
	if fault.Is(err, fault.CodeNotFound) {
		return false, nil // another database than the one the files were made for
	}
	if err != nil {
		return false, err
	}
	mac := a.data.Keys.SecretMAC(strings.TrimSpace(string(secret)))
	for i := range principal.Secrets {
		if subtle.ConstantTimeCompare(principal.Secrets[i].MAC[:], mac[:]) == 1 {
			return true, nil
		}
	}
	return false, nil
}

// bootstrapDevelopment makes an administrator and keeps its secret. A crash
// before the secret is on disk leaves an administrator whose secret nobody
// knows; the next start finds no secret file and makes another one.
func (a *App) bootstrapDevelopment(ctx context.Context, d *Development) error {
	admins := directory.New(a.data.Store, a.data.Keys, a.data.clock)
	account, secret, err := admins.BootstrapAdmin(ctx, false)
	if errors.Is(err, directory.ErrAdministratorExists) {
		a.log.Warn("there is an administrator whose secret is not in the data directory; making another one", slog.String("data_dir", d.DataDir))
		account, secret, err = admins.BootstrapAdmin(ctx, true)
	}
	if err != nil {
		return fmt.Errorf("make an administrator: %w", err)
	}
	d.ClientID = account.ID
	return WriteFile(d.SecretFile, []byte(secret.Reveal()))
}
