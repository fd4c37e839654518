package grant

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// maxReruns is how often a decision is made anew because what it rests on has
// changed before it could be recorded. An account that changes faster than that
// is told to come back.
const maxReruns = 3

// errUnsettled is the private cause when maxReruns were not enough.
var errUnsettled = errors.New("grant: what the decision rests on keeps changing")

// Config is what the endpoint is made of.
type Config struct {
	Store         *store.Store
	Authenticator *clientauth.Authenticator
	Issuer        *token.Issuer
	Failures      *limit.Failures
	Refusals      *limit.Refusals
	Rates         *limit.Rates // of issuance, by account
	Clock         clock.Clock
	Elapsed       clock.Clock  // measures waiting; nil is Clock
	Log           *slog.Logger // nil discards
	Grants        []Grant
	// Issued and Refused, when set, are told of each token, by its grant, and of
	// each refusal, by the word that the audit log has for it.
	Issued  func(grant string)
	Refused func(reason string)
}

// Endpoint answers token requests. It is safe for concurrent use.
type Endpoint struct {
	store    *store.Store
	auth     *clientauth.Authenticator
	issuer   *token.Issuer
	failures *limit.Failures
	refusals *limit.Refusals
	rates    *limit.Rates
	clock    clock.Clock
	grants   map[string]Grant
	pace     pace
	log      *slog.Logger
	visits   sync.Pool // of *visit
	issued   func(grant string)
	declined func(reason string)
}

// New makes the endpoint; it refuses a configuration that cannot work.
func New(cfg Config) (*Endpoint, error) {
	if cfg.Store == nil || cfg.Authenticator == nil || cfg.Issuer == nil ||
		cfg.Failures == nil || cfg.Refusals == nil || cfg.Rates == nil || cfg.Clock == nil {
		return nil, errors.New("grant: a part is missing")
	}
	if cfg.Elapsed == nil {
		cfg.Elapsed = cfg.Clock
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	for _, hook := range []*func(string){&cfg.Issued, &cfg.Refused} {
		if *hook == nil {
			*hook = func(string) {}
		}
	}
	e := &Endpoint{
		visits: sync.Pool{New: func() any { return new(visit) }},
		issued: cfg.Issued, declined: cfg.Refused,
		pace: pace{clock: cfg.Elapsed}, log: cfg.Log,
		store: cfg.Store, auth: cfg.Authenticator, issuer: cfg.Issuer, failures: cfg.Failures,
		refusals: cfg.Refusals, rates: cfg.Rates, clock: cfg.Clock, grants: make(map[string]Grant, len(cfg.Grants)),
	}
	for _, g := range cfg.Grants {
		if _, twice := e.grants[g.Type]; twice || g.Type == "" || g.Authorize == nil {
			return nil, errors.New("grant: a grant is incomplete or there twice: " + g.Type)
		}
		e.grants[g.Type] = g
	}
	if len(e.grants) == 0 {
		return nil, errors.New("grant: no grants")
	}
	return e, nil
}

// GrantTypes are the values of grant_type that are answered, sorted.
func (e *Endpoint) GrantTypes() []string { return slices.Sorted(maps.Keys(e.grants)) }

// Issue runs a token request through the pipeline and answers after the
// decision is recorded: no audit event, no token. Each call leaves exactly one
// event, or adds one to the counted refusals. r.Standing tells, whatever the
// answer, how the account stands with its rate.
func (e *Endpoint) Issue(ctx context.Context, r *Request) (*Response, error) {
	return e.settle(ctx, r, false)
}

// settle decides anew as long as what a decision rests on has changed.
func (e *Endpoint) settle(ctx context.Context, r *Request, login bool) (*Response, error) {
	r.Standing = limit.Standing{}
	for range 1 + maxReruns {
		resp, err := e.run(ctx, r, login)
		if !errors.Is(err, store.ErrStale) {
			return resp, err
		}
		e.log.LogAttrs(ctx, slog.LevelDebug, "deciding anew", slog.String("request_id", r.RequestID))
	}
	return nil, fault.Unavailable(errUnsettled)
}

func (e *Endpoint) run(ctx context.Context, r *Request, login bool) (*Response, error) {
	// Others that are about to commit wait a moment for this one.
	arrival := e.store.Announce()
	defer arrival.Leave()
	// The position comes first: whatever changes after it is caught by Record.
	a := Attempt{Request: r, login: login, snapshot: e.store.Snapshot(), arrival: arrival}
	minted, err := e.decide(ctx, &a)
	if err != nil {
		return nil, e.refused(ctx, audit.TokenRefused, &a, err)
	}
	// A crash before this returns leaves at most an event without an answer; a
	// crash after it, an answer that is on record.
	if err := e.store.Record(ctx, a.issuance(&minted)); err != nil {
		return nil, err
	}
	e.issued(a.grant)
	// That the management API may be called is used by calling it.
	if a.ResourceServer.ID != identity.ManagementResourceServerID {
		e.store.Used(a.account, a.ResourceServer.ID, minted.Scope, a.Now)
	}
	return &Response{
		AccessToken: minted.Token, TokenType: "Bearer", Scope: minted.Scope, TokenID: minted.ID,
		ExpiresIn: int64(minted.ExpiresIn.Seconds()),
	}, nil
}

// decide is the pipeline. The order is fixed: what costs an attacker least is
// refused first, nothing is said about an account before its client has proved
// itself, and the grant's own part sees only what has passed all that.
func (e *Endpoint) decide(ctx context.Context, a *Attempt) (token.Minted, error) {
	if err := e.signIn(ctx, a); err != nil {
		return token.Minted{}, err
	}
	if err := e.admit(a); err != nil {
		return token.Minted{}, err
	}
	return e.produce(ctx, a)
}

// produce is the last part of the pipeline: what the token is for, the grant's
// own part, and the token itself, which is nobody's yet. It writes nothing.
func (e *Endpoint) produce(ctx context.Context, a *Attempt) (token.Minted, error) {
	g, err := e.grant(a)
	if err != nil {
		return token.Minted{}, err
	}
	a.grant = g.Type
	if err := e.resolve(ctx, a); err != nil {
		return token.Minted{}, err
	}
	if err := g.Authorize(ctx, a); err != nil {
		return token.Minted{}, err
	}
	return e.issuer.Mint(token.Request{
		Account: &a.Client.Principal.Account, CredentialID: a.Client.CredentialID, ResourceServer: a.ResourceServer,
		Granted: a.Granted, Scopes: a.Scopes, Roles: a.Roles, NotAfter: a.NotAfter, Now: a.Now,
	})
}

// admit takes the request from the account's rate, after the account has proved
// itself: nobody else can use it up. It does so once: a decision that is made
// anew is still the same request.
func (e *Endpoint) admit(a *Attempt) error {
	s := &a.Request.Standing
	if s.Quota == 0 {
		*s = e.rates.Take(a.account, a.Client.Principal.Account.TokenRateLimit, a.Now)
	}
	return s.Err()
}

func (e *Endpoint) grant(a *Attempt) (Grant, error) {
	if a.login {
		return apiKeyLogin(), nil
	}
	name := a.Request.Params.Get("grant_type")
	if name == "" {
		return Grant{}, fault.Invalid("the parameter grant_type is missing")
	}
	g, ok := e.grants[name]
	if !ok {
		return Grant{}, fault.New(fault.KindInvalid, fault.CodeUnsupportedGrantType, "this grant_type is not supported")
	}
	return g, nil
}
