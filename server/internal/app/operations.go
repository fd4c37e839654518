package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"

	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/operations"
)

// openOperations opens the listener for operators, before the database is
// asked for: how the start goes is what it is there to tell. A development
// server does without it where another one has the address already.
func (a *App) openOperations() error {
	if a.cfg.Operations.Listen == "" {
		return nil
	}
	tcp, err := net.Listen("tcp", a.cfg.Operations.Listen)
	if a.cfg.Dev && errors.Is(err, syscall.EADDRINUSE) {
		a.log.Warn("there is no health, readiness and metrics: the address is taken, perhaps by another server; operations.listen sets it",
			slog.String("address", a.cfg.Operations.Listen))
		return nil
	}
	if err != nil {
		return fmt.Errorf("operations.listen: %w; give another address, or off", err)
	}
	a.operations = operations.Serve(tls.NewListener(tcp, a.certificates.config()), operations.Config{
		Readiness: &a.readiness, Metrics: a.metrics.Gatherer(), Profiling: a.cfg.Operations.Profiling, Log: a.log,
	})
	a.log.Info("operations", slog.String("address", tcp.Addr().String()))
	return nil
}

// checks are what this node needs in order to serve.
func (a *App) checks() []operations.Check {
	return []operations.Check{
		{Name: "database", Run: a.data.Store.Ping},
		{Name: "changes", Run: func(context.Context) error { return a.data.Store.Fresh() }},
		{Name: "keys", Run: func(context.Context) error {
			_, err := a.data.Keys.Signer(jose.ES256)
			return err
		}},
		{Name: "certificate", Run: func(context.Context) error { return a.certificates.check() }},
	}
}

// gauges lets the metrics read what the parts know of themselves.
func (a *App) gauges() {
	st, m := a.data.Store, a.metrics
	m.Gauge("marque_certificate_expiry_timestamp_seconds", "When the certificate in use expires, in seconds since 1970.",
		func() float64 { return float64(a.certificates.expires().Unix()) })
	m.Gauge("marque_requests_in_flight", "Requests that are being answered.", func() float64 { return float64(a.requests.Load()) })
	m.Gauge("marque_connections_open", "Connections of clients that are open.",
		func() float64 { return float64(a.connections.Load()) })
	m.Gauge("marque_cache_accounts", "Service accounts in memory.", func() float64 { return float64(st.Stats().Accounts) })
	m.Gauge("marque_cache_accounts_limit", "Service accounts that there is room for.", func() float64 { return float64(a.cfg.CacheAccounts) })
	m.Gauge("marque_cache_resource_servers", "Resource servers in memory.", func() float64 { return float64(st.Stats().ResourceServers) })
	m.Gauge("marque_cache_tokens_bytes", "Memory of the tokens whose signature is known to be good.",
		func() float64 { return float64(a.checker.CacheBytes()) })
	m.Gauge("marque_revocations", "Revocations in memory.", func() float64 { return float64(st.Stats().Revocations) })
	m.Gauge("marque_feed_followers", "Streams of revocations that are open.", func() float64 { return float64(a.data.Feed.Stats().Followers) })
	m.Counter("marque_feed_slow_total", "Streams of revocations that were cut off because they were read too slowly.",
		func() float64 { return float64(a.data.Feed.Stats().Slow) })
	m.Gauge("marque_audit_queue", "Decisions that wait to be recorded.", func() float64 { return float64(st.Stats().Queue) })
	m.Gauge("marque_database_connections", "Connections to the database that are open.", func() float64 { return float64(st.Stats().ConnectionsOpen) })
	m.Gauge("marque_database_connections_in_use", "Connections to the database that are being used.",
		func() float64 { return float64(st.Stats().ConnectionsInUse) })
	if a.output != nil {
		m.Counter("marque_log_lines_dropped_total", "Lines of requests that were dropped because nobody read the log fast enough.",
			func() float64 { return float64(a.output.Dropped()) })
	}
}
