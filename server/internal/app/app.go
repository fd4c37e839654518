// Package app puts a server together: it builds every value once, in order, and
// takes them apart in the opposite order. The commands and every end-to-end
// test start here.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/config"
	"github.com/marque-id/marque/server/internal/operations"
	"github.com/marque-id/marque/server/internal/telemetry"
	"github.com/marque-id/marque/server/internal/token"
)

// Deps are what a server gets from outside.
type Deps struct {
	Clock   clock.Clock
	Log     *slog.Logger
	Output  *telemetry.Output // where the lines of requests go; nil writes none
	Release string            // for the metrics
}

// App is a server that has everything it needs and listens; Start lets it answer.
type App struct {
	issuer   string
	log      *slog.Logger
	clock    clock.Clock
	cfg      config.Config
	data     *Data
	listener net.Listener
	http     *fiber.App
	checker  *token.Checker
	dev      *Development // nil in production

	certificates *certificates
	output       *telemetry.Output
	metrics      *telemetry.Metrics
	readiness    operations.Readiness
	operations   *operations.Server // nil where it is off

	background  background
	connections atomic.Int64 // open
	requests    atomic.Int64 // being answered
	draining    atomic.Bool
	answered    atomic.Int64 // while draining
	failed      chan error
}

// New builds a server. When it fails it has released whatever it took.
//
// The order matters: what an operator got wrong is found before the database is
// touched; operators can watch from then on; the port is taken before tokens can be made, since a development
// server's issuer names the port; nothing is answered before Start.
func New(ctx context.Context, cfg config.Config, deps Deps) (_ *App, err error) {
	a := &App{
		cfg: cfg, log: deps.Log, clock: deps.Clock, failed: make(chan error, 1),
		output: deps.Output, metrics: telemetry.NewMetrics(deps.Release),
	}
	defer func() {
		if err != nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSteps)
			defer cancel()
			err = errors.Join(err, a.release(last))
		}
	}()

	if err := ensureDir(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("data_dir: %w", err)
	}
	if a.certificates, err = openCertificates(&cfg, deps); err != nil {
		return nil, err
	}
	a.certificates.reloaded = a.metrics.CertificateReloaded
	if err := a.openOperations(); err != nil {
		return nil, err
	}
	if a.data, err = openData(ctx, &cfg, deps, a.metrics.Committed); err != nil {
		return nil, err
	}
	if a.listener, err = a.listen(); err != nil {
		return nil, err
	}
	a.issuer = issuerOf(&cfg, a.listener)
	if a.http, err = a.wire(deps); err != nil {
		return nil, err
	}
	if cfg.Dev {
		if a.dev, err = a.prepareDevelopment(ctx); err != nil {
			return nil, err
		}
	}
	a.gauges()
	a.background.run(a.certificates.watch)
	return a, nil
}

// ReloadCertificate looks at the certificate's files now; it does so by itself
// every few seconds.
func (a *App) ReloadCertificate() { a.certificates.reload(true) }

// Issuer is the URL of this server as it stands in its tokens.
func (a *App) Issuer() string { return a.issuer }

// Address is where the server listens.
func (a *App) Address() string { return a.listener.Addr().String() }

// Development tells where a development server keeps what its user needs; nil
// in production.
func (a *App) Development() *Development { return a.dev }

// release gives back what New took, newest first. What runs beside the requests
// ends while the store can still take its last words.
func (a *App) release(ctx context.Context) error {
	problems := []error{a.background.stopAll(ctx)}
	if a.listener != nil {
		problems = append(problems, a.listener.Close())
	}
	if a.data != nil {
		problems = append(problems, a.data.Close(ctx))
	}
	if a.operations != nil { // last: it tells how the rest goes
		problems = append(problems, a.operations.Close())
	}
	return errors.Join(problems...)
}

// issuerOf is the configured issuer. A development server that was given none
// takes the port it listens on, which may have been chosen by the system.
func issuerOf(cfg *config.Config, l net.Listener) string {
	if cfg.Issuer != "" {
		return cfg.Issuer
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if port == "443" {
		return "https://localhost"
	}
	return "https://localhost:" + port
}
