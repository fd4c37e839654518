// Package httpapi is the edge: it implements the generated strict server
// interface over the use cases below it, one file per tag of the contract, and
// is the only package beside the generated one that knows HTTP.
//
// A request passes the chain (middleware.go), then, once its route is known,
// admission (admit.go): sign-in first, then the caller's rate, then validation,
// all by the operation that the route belongs to. Handlers convert, make one call, and
// convert back. Whatever fails, here or in Fiber itself, is rendered by one
// error handler in one of two forms (problem.go, oautherror.go).
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/feed"
	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/proxy"
	"github.com/marque-id/marque/server/internal/telemetry"
	"github.com/marque-id/marque/server/internal/token"
)

// Deps are what the edge stands on.
type Deps struct {
	Issuer    string // byte for byte what stands in tokens and metadata
	Clock     clock.Clock
	Log       *slog.Logger
	Keys      *keyring.Keyring
	Tokens    *token.Service
	Checker   *token.Checker
	Grants    *grant.Endpoint
	Directory *directory.Service
	Feed      *feed.Hub
	// Forwarded says whose word about the address of a client is taken.
	Forwarded proxy.Forwarded
	// Requests observes what was answered; nil observes nothing.
	Requests *telemetry.Requests
	// Gate bounds the token requests that are worked on at the same time. All
	// else is answered from memory, or is little and has a quota: an operator who
	// stops an agent must get through.
	Gate *limit.Gate
	// Quotas by account; that of tokens is the pipeline's.
	Introspection *limit.Rates
	Management    *limit.Rates
	// RequestTimeout bounds the work on one request; zero is one second.
	RequestTimeout time.Duration
	// WriteTimeout is what a client has to take an answer, or the next part of a
	// stream; zero is ten seconds.
	WriteTimeout time.Duration
}

const (
	defaultRequestTimeout = time.Second

	// maxBody is far above the largest valid request and small enough that
	// thousands of them at once are nothing.
	maxBody = 64 << 10
	// maxHeader holds the largest token that we issue, with room for the rest;
	// Fiber's own 4 KiB do not.
	maxHeader = 16 << 10

	// The times that a client may take to send a request, to read the answer,
	// and to keep a connection open for the next one.
	readTimeout         = 10 * time.Second
	defaultWriteTimeout = 10 * time.Second
	idleTimeout         = 2 * time.Minute
)

// server holds what handlers need. Its methods are the operations.
type server struct {
	Deps
	base     string // the issuer's path, which all routes stand under
	contract *contract
	openapi  document
	headers  []header
	recall   recall
	calls    sync.Pool // of *call, for those that are recalled
}

var _ api.StrictServerInterface = (*server)(nil)

// New builds the Fiber application. It fails when an operation of the contract
// has no row in the operation table, a route no operation, or the issuer is not
// one that metadata can be published for.
func New(deps Deps) (*fiber.App, error) {
	if deps.Clock == nil || deps.Keys == nil || deps.Tokens == nil || deps.Checker == nil ||
		deps.Grants == nil || deps.Directory == nil || deps.Feed == nil || deps.Gate == nil || deps.Introspection == nil || deps.Management == nil {
		return nil, errors.New("httpapi: a part is missing")
	}
	return newApp(deps)
}

func newApp(deps Deps) (*fiber.App, error) {
	_, app, err := newServer(deps)
	return app, err
}

func newServer(deps Deps) (*server, *fiber.App, error) {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.RequestTimeout == 0 {
		deps.RequestTimeout = defaultRequestTimeout
	}
	if deps.WriteTimeout == 0 {
		deps.WriteTimeout = defaultWriteTimeout
	}
	base, err := issuerPath(deps.Issuer)
	if err != nil {
		return nil, nil, err
	}
	s := &server{Deps: deps, base: base, headers: fixedHeaders(deps.Issuer), calls: sync.Pool{New: func() any { return new(call) }}}
	if s.contract, err = loadContract(base); err != nil {
		return nil, nil, err
	}
	if s.openapi, err = contractDocument(deps.Issuer, deps.Keys.Policy().MaxAge); err != nil {
		return nil, nil, err
	}

	app := fiber.New(fiber.Config{
		// Without it, strings that outlive the handler change under us: Fiber
		// reuses the buffer of the request that they point into.
		Immutable: true,
		// One path, one spelling.
		CaseSensitive: true,
		StrictRouting: true,

		BodyLimit:             maxBody,
		ReadBufferSize:        maxHeader,
		ReadTimeout:           readTimeout,
		WriteTimeout:          deps.WriteTimeout,
		IdleTimeout:           idleTimeout,
		ErrorHandler:          s.handleError,
		DisableStartupMessage: true,
	})
	app.Use(s.chain)
	s.route(app)
	answerUnknownMethods(app)
	s.recallWith(app)
	s.observe(app)
	s.refuseAmbiguous(app)
	return s, app, s.contract.checkRoutes(app.GetRoutes(true))
}

// route registers the generated routes, and by hand what the contract cannot
// say: preflight requests, and the well-known paths of an issuer with a path.
func (s *server) route(app *fiber.App) {
	admission := []api.HandlerMiddlewareFunc{s.signIn, s.validate}
	strict := api.NewStrictHandler(s, nil)
	api.RegisterHandlersWithOptions(app, strict, api.FiberServerOptions{
		BaseURL: s.base, HandlerMiddlewares: admission,
	})
	for path := range s.contract.public {
		app.Options(path, preflight)
	}
	if s.base == "" {
		return
	}
	// RFC 8414 section 3.1: the well-known part goes between host and path.
	wrapper := api.ServerInterfaceWrapper{Handler: strict, HandlerMiddlewares: admission}
	for wellKnown, handler := range map[string]fiber.Handler{
		oauthMetadataPath:  wrapper.MetadataGet,
		openidMetadataPath: wrapper.MetadataGetOpenid,
	} {
		s.contract.alias(wellKnown+s.base, s.base+wellKnown)
		app.Get(wellKnown+s.base, handler)
		app.Options(wellKnown+s.base, preflight)
	}
}

// answerUnknownMethods gives a method that HTTP does not know the answer of one
// that no route takes. Fiber would answer it before any handler of ours, in
// plain text.
func answerUnknownMethods(app *fiber.App) {
	known := make(map[string]bool, len(fiber.DefaultMethods))
	for _, m := range fiber.DefaultMethods {
		known[m] = true
	}
	server := app.Server()
	next := server.Handler
	server.Handler = func(c *fasthttp.RequestCtx) {
		if !known[string(c.Method())] {
			c.Request.Header.SetMethod(fiber.MethodTrace)
		}
		next(c)
	}
}

// routablePath keeps what Fiber's router would read as a pattern out of the
// issuer's path.
var routablePath = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*/?$`)

// issuerPath is the path of the issuer without its last slash, under which all
// routes stand: "" for most.
func issuerPath(issuer string) (string, error) {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return "", fmt.Errorf("httpapi: the issuer %q is not an https URL", issuer)
	case u.User != nil || strings.ContainsAny(issuer, "?#"):
		return "", fmt.Errorf("httpapi: the issuer %q has a part that RFC 8414 section 2 does not allow", u.Redacted())
	case !routablePath.MatchString(u.EscapedPath()):
		return "", fmt.Errorf("httpapi: the path of the issuer %q may have letters, digits and . _ ~ - only", issuer)
	}
	return strings.TrimSuffix(u.Path, "/"), nil
}

// callOf is the call that a context belongs to.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }
