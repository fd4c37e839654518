package marque

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// VerifierConfig says whose tokens a [Verifier] accepts. The zero VerifierConfig
// works where the environment or a profile says it: see [Config].
type VerifierConfig struct {
	// Issuer is the https URL of the server, as it stands in the iss of its tokens.
	Issuer string
	// CAFile is a PEM file with the only authorities that are trusted to vouch for
	// the server. Without it those of the system are.
	CAFile string
	// Profile names a profile to use instead of what the environment says.
	Profile string
	// HTTPClient fetches the keys; nil is one of the SDK's own.
	HTTPClient *http.Client
	// Timeout limits a fetch of the keys; 0 is 10 s.
	Timeout time.Duration
	// Leeway is how far a token may begin in the future, since clocks differ; 0 is
	// 10 s, a negative one is none. There is none for its end.
	Leeway time.Duration
	// CacheSize is how many verified tokens are remembered, so that the next
	// request with one costs no signature check; 0 is 4096, a negative one is none.
	// Expiry, audience, key and revocation are judged anew each time.
	CacheSize int
	// AcceptBound lets tokens through that are bound to a key (cnf, RFC 7800). Set
	// it only where the caller checks Principal.Confirmation against the proof of
	// possession in the request: without that check a stolen token works.
	AcceptBound bool
	// Revocations tells which tokens have been stopped, such as a [Follower] of
	// [Client.FollowRevocations]; nil means that a token is good until it ends.
	Revocations Revocations
	// Logger is told at level debug why tokens are refused, and at level warn that
	// keys cannot be fetched. Nil is silence. No token is ever logged.
	Logger *slog.Logger
	// Clock is for tests; nil is the system's.
	Clock Clock
}

// Revocations tells whether a token that verifies has been stopped since it was
// issued. It is asked at each verification, so that it answers from memory; what
// it says while its own state is out of date is its decision.
type Revocations interface {
	Revoked(*Principal) bool
}

// Verifier checks tokens for an API. It fetches the issuer's public keys and
// then works by itself, without a call per token.
type Verifier struct {
	issuer      string
	keys        *keyCache
	verified    *tokenCache // nil when nothing is remembered
	leeway      time.Duration
	acceptBound bool
	revocations Revocations
	log         *slog.Logger
	clock       Clock
}

const (
	defaultLeeway    = 10 * time.Second
	defaultCacheSize = 4096
)

// NewVerifier makes a verifier. It asks no network: keys are fetched when the
// first token comes.
func NewVerifier(config VerifierConfig) (*Verifier, error) { return newVerifier(config, os.Getenv) }

func newVerifier(config VerifierConfig, getenv func(string) string) (*Verifier, error) {
	chain := chain{getenv: getenv, issuer: config.Issuer, caFile: config.CAFile, profile: config.Profile}
	settings, err := chain.resolve(nil, false)
	if err != nil {
		return nil, err
	}
	client, err := httpClient(config.HTTPClient, config.CAFile, settings.caFile)
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		issuer: settings.issuer, leeway: config.Leeway, acceptBound: config.AcceptBound,
		revocations: config.Revocations, log: config.Logger, clock: config.Clock,
	}
	if v.clock == nil {
		v.clock = systemClock{}
	}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	if v.leeway == 0 {
		v.leeway = defaultLeeway
	}
	v.leeway = max(v.leeway, 0)
	if config.Timeout <= 0 {
		config.Timeout = defaultTokenTimeout
	}
	server := &keyServer{root: strings.TrimSuffix(v.issuer, "/"), http: client, timeout: config.Timeout, clock: v.clock}
	v.keys = &keyCache{fetch: server.fetch, clock: v.clock, log: v.log}
	if config.CacheSize == 0 {
		config.CacheSize = defaultCacheSize
	}
	if config.CacheSize > 0 {
		v.verified = newTokenCache(config.CacheSize)
	}
	return v, nil
}

// Issuer is the issuer whose tokens are accepted.
func (v *Verifier) Issuer() string { return v.issuer }

// Verify checks a token that was presented to the API with this audience (the
// identifier of its resource server), and that it gives these permissions. A
// token that is refused is a [*TokenError], which knows how to answer; an
// [*Error] is either a mistake of the caller or the end of its context.
func (v *Verifier) Verify(ctx context.Context, token, audience string, scopes ...string) (*Principal, error) {
	if audience == "" {
		return nil, misconfigured("the audience is empty: a token for any API would pass")
	}
	p, err := v.verify(ctx, token, audience, scopes)
	if refusal, ok := errors.AsType[*TokenError](err); ok {
		v.log.LogAttrs(ctx, slog.LevelDebug, "marque token refused",
			slog.String("reason", string(refusal.Reason)), slog.String("detail", refusal.detail))
	}
	return p, err
}

func (v *Verifier) verify(ctx context.Context, token, audience string, scopes []string) (*Principal, error) {
	principal, err := v.authentic(ctx, token)
	if err != nil {
		return nil, err
	}
	switch now := v.clock.Now(); {
	case principal.Issuer != v.issuer:
		return nil, &TokenError{Reason: ReasonIssuer}
	case !slices.Contains(principal.Audience, audience):
		return nil, &TokenError{Reason: ReasonAudience, detail: "it is not for " + audience}
	case !now.Before(principal.Expires):
		return nil, &TokenError{Reason: ReasonExpired, detail: "it ended at " + principal.Expires.Format(time.RFC3339)}
	case principal.notBefore.After(now.Add(v.leeway)):
		return nil, &TokenError{Reason: ReasonNotYetValid, detail: "it begins at " + principal.notBefore.Format(time.RFC3339)}
	case principal.Confirmation != nil && !v.acceptBound:
		return nil, &TokenError{Reason: ReasonType, detail: "it is bound to a key and no bearer token"}
	}
	if reason := v.stopped(principal); reason != "" {
		return nil, &TokenError{Reason: reason}
	}
	if len(principal.missing(scopes)) > 0 {
		return nil, &TokenError{Reason: ReasonScope, Scopes: scopes, detail: "it does not give " + strings.Join(principal.missing(scopes), " ")}
	}
	return principal, nil
}

// stopped is why a token that verifies may not be used all the same, or "".
func (v *Verifier) stopped(p *Principal) Reason {
	switch r := v.revocations.(type) {
	case nil:
		return ""
	case *Follower:
		return r.judge(p)
	default:
		if r.Revoked(p) {
			return ReasonRevoked
		}
		return ""
	}
}

// authentic returns what the issuer has signed. It is the expensive part, and
// stays true for as long as the key is published: times, audience and
// revocation are not judged here. The principal is the caller's own.
func (v *Verifier) authentic(ctx context.Context, token string) (*Principal, error) {
	var sum digest
	if v.verified != nil && len(token) <= maxTokenSize {
		sum = digestOf(token)
		if entry := v.verified.get(&sum); entry != nil {
			key, err := v.key(ctx, entry.key.kid)
			if err != nil {
				return nil, err
			}
			if key == entry.key {
				principal := entry.principal
				return &principal, nil
			}
		}
	}
	parts, reason := splitToken(token)
	if reason != "" {
		return nil, &TokenError{Reason: reason}
	}
	key, err := v.key(ctx, parts.kid)
	switch {
	case err != nil:
		return nil, err
	case parts.alg != key.alg:
		return nil, &TokenError{Reason: ReasonAlgorithm, detail: "its key is for " + key.alg}
	case !key.verify(parts.signing, parts.signature):
		return nil, &TokenError{Reason: ReasonSignature}
	}
	principal, ok := readClaims(parts.payload)
	if !ok {
		return nil, &TokenError{Reason: ReasonMalformed, detail: "its claims are not those of an access token"}
	}
	principal.kid = key.kid
	if v.verified != nil {
		v.verified.put(&sum, &verifiedToken{principal: *principal, key: key})
	}
	return principal, nil
}

func (v *Verifier) key(ctx context.Context, kid string) (*publicKey, error) {
	key, err := v.keys.find(ctx, kid)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, &TokenError{Reason: ReasonKeyFetch, cause: err}
	case key == nil:
		return nil, &TokenError{Reason: ReasonKeyUnknown}
	default:
		return key, nil
	}
}
