package app

import (
	"context"
	"errors"

	"github.com/marque-id/marque/server/internal/config"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/identity"
)

// BootstrapAdmin makes an administrator directly in the database. Whoever can
// run it has the database and the master key, and so could do it anyway; this
// way it is in the audit log.
func BootstrapAdmin(ctx context.Context, cfg *config.Config, deps Deps, recovering bool) (_ *identity.ServiceAccount, _ identity.Secret, err error) {
	data, err := OpenData(ctx, cfg, deps)
	if err != nil {
		return nil, identity.Secret{}, err
	}
	defer func() { err = errors.Join(err, data.Close(ctx)) }()
	return directory.New(data.Store, data.Keys, deps.Clock).BootstrapAdmin(ctx, recovering)
}
