package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/valyala/fasthttp"
)

// lameDuck is how long nothing must have come on the connections that are open
// before a stopping server closes them; until then each client is answered, and
// told to close. A connection that is simply closed while it looks idle can
// lose a request that is on its way.
const lameDuck = 500 * time.Millisecond

// lastSteps is how long the record may take to become durable at the end.
const lastSteps = 5 * time.Second

// Start lets the server answer. Failed tells when it no longer does.
func (a *App) Start() {
	server := a.http.Server()
	server.Handler = a.watch(server.Handler)
	server.ConnState = a.count
	go func() {
		if err := a.http.Listener(a.listener); err != nil {
			a.failed <- fmt.Errorf("serve: %w", err)
		}
	}()
	a.readiness.Serving(a.checks())
	a.log.Info("serving", slog.String("issuer", a.issuer), slog.String("address", a.listener.Addr().String()))
}

// count counts the connections. The server's own count is short by one as soon
// as its listener is closed, hence by the last client of a server that stops.
func (a *App) count(_ net.Conn, state fasthttp.ConnState) {
	switch state {
	case fasthttp.StateNew:
		a.connections.Add(1)
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		a.connections.Add(-1)
	}
}

// watch counts what is being answered, and tells clients to go while the server
// stops.
func (a *App) watch(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(c *fasthttp.RequestCtx) {
		a.requests.Add(1)
		defer a.requests.Add(-1)
		next(c)
		if a.draining.Load() {
			a.answered.Add(1)
			c.SetConnectionClose()
		}
	}
}

// Failed receives the error by which the listener died.
func (a *App) Failed() <-chan error { return a.failed }

// Stop ends in order: readiness says no; followers of revocations are sent to
// another node, since they would never leave by themselves; after the configured delay there is no
// new connection; what is being answered is answered, and its connection
// closed; what was recorded becomes durable; a last checkpoint is signed; the
// database is let go; the operations listener, which could be asked all along,
// is closed. ctx bounds the waiting for clients, the delay included. The steps
// after that have a few seconds of their own, since a record must not depend on
// how slow a client is.
func (a *App) Stop(ctx context.Context) error {
	a.log.Info("stopping")
	a.readiness.Stopping()
	a.data.Feed.Close()
	a.delay(ctx)
	a.draining.Store(true)
	problems := []error{a.listener.Close()}
	a.awaitQuiet(ctx)
	if err := a.http.ShutdownWithContext(ctx); err != nil {
		if n := a.requests.Load(); n > 0 {
			problems = append(problems, fmt.Errorf("%d request(s) were still being answered: %w", n, err))
		} else {
			a.log.Warn("connections are cut that have not sent a whole request", slog.Any("error", err))
		}
	}

	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSteps)
	defer cancel()
	problems = append(problems, a.release(last))
	err := errors.Join(problems...)
	a.log.Info("stopped", slog.Bool("clean", err == nil))
	return err
}

// delay goes on serving for a while, so that balancers which ask for readiness
// send no new clients to a closed door.
func (a *App) delay(ctx context.Context) {
	if a.cfg.ShutdownDelay == 0 {
		return
	}
	timer := a.clock.NewTimer(a.cfg.ShutdownDelay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.Chan():
	}
}

// awaitQuiet waits until every client has gone, none has been answered for as
// long as lameDuck, or ctx ends.
func (a *App) awaitQuiet(ctx context.Context) {
	const step = 10 * time.Millisecond
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	answered, quiet := a.answered.Load(), time.Duration(0)
	for a.connections.Load() > 0 && quiet <= lameDuck {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			quiet += step
		}
		if now := a.answered.Load(); now != answered || a.requests.Load() > 0 {
			answered, quiet = now, 0
		}
	}
}
