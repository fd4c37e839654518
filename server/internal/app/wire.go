package app

import (
	"context"
	"runtime"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/httpapi"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/proxy"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/telemetry"
	"github.com/marque-id/marque/server/internal/token"
)

// placesPerProcessor is how many token requests are worked on at a time: enough
// to fill the shared commit, few enough that each is answered soon.
const placesPerProcessor = 64

// wire builds what stands between the listener and the data, from the bottom up.
func (a *App) wire(deps Deps) (*fiber.App, error) {
	st, keys := a.data.Store, a.data.Keys

	tokens := token.Config{
		Issuer: a.issuer, Store: st, Keys: keys, Clock: deps.Clock, Log: deps.Log,
		DefaultLifetime: a.cfg.Tokens.Lifetime, MaxLifetime: a.cfg.Tokens.LifetimeMax,
	}
	issuer, err := token.NewIssuer(tokens)
	if err != nil {
		return nil, err
	}
	if a.checker, err = token.NewChecker(tokens); err != nil {
		return nil, err
	}

	refusals := limit.NewRefusals(deps.Clock)
	a.background.run(func(ctx context.Context) { refusals.Run(ctx, recorder(st)) })
	a.background.run(a.data.Checkpoints.Run)
	a.background.run(keyring.NewKeeper(keys).Run)

	endpoint, err := grant.New(grant.Config{
		Store: st, Issuer: issuer, Clock: deps.Clock, Log: deps.Log,
		Authenticator: clientauth.New(st, keys),
		Failures:      limit.NewFailures(limit.Options{Clock: deps.Clock}),
		Refusals:      refusals,
		Rates:         limit.NewRates(deps.Clock, a.cfg.Limits.Tokens),
		Grants:        []grant.Grant{grant.ClientCredentials()},
		Issued:        a.metrics.Issued, Refused: a.metrics.Refused,
	})
	if err != nil {
		return nil, err
	}
	gate := limit.NewGate(deps.Clock, placesPerProcessor*runtime.GOMAXPROCS(0), limit.NewLateness().Since)
	a.metrics.Counter("marque_overload_refusals_total", "Token requests that were refused because there were more than can be worked on.",
		func() float64 { return float64(gate.Refused()) })
	a.metrics.Gauge("marque_overload_waiting", "Token requests that wait until they can be worked on.",
		func() float64 { return float64(gate.Waiting()) })
	return httpapi.New(httpapi.Deps{
		Issuer: a.issuer, Clock: deps.Clock, Log: deps.Log, Keys: keys,
		Tokens: token.NewService(a.checker), Checker: a.checker, Grants: endpoint,
		Forwarded:     proxy.Forwarded{From: a.cfg.Proxy.ForwardedFrom, RFC7239: a.cfg.Proxy.ForwardedHeader == "forwarded"},
		Requests:      a.observer(),
		Directory:     directory.New(st, keys, deps.Clock),
		Feed:          a.data.Feed,
		Gate:          gate,
		Introspection: limit.NewRates(deps.Clock, a.cfg.Limits.Introspections),
		Management:    limit.NewRates(deps.Clock, a.cfg.Limits.Management),
	})
}

// observer counts what was answered and writes its line.
func (a *App) observer() *telemetry.Requests {
	o := &telemetry.Requests{Metrics: a.metrics}
	if a.output != nil {
		o.Log = telemetry.NewRequestLog(a.output, a.cfg.Log.Level, a.cfg.Log.Format, a.cfg.Log.Requests)
	}
	return o
}

// recorder writes an event that concerns no single account.
func recorder(st *store.Store) func(context.Context, audit.Event) error {
	return func(ctx context.Context, e audit.Event) error {
		return st.Record(ctx, store.Issuance{Event: e})
	}
}
