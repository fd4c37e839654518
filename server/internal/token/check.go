package token

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/recent"
	"github.com/marque-id/marque/server/internal/store"
)

// maxPresented bounds the text of a token before it is even hashed.
const maxPresented = 8 << 10

// reason says why a token is no good. It is for logs, never for a caller.
type reason string

// Error makes a reason the private cause of a fault.
func (r reason) Error() string { return "token: " + string(r) }

const (
	good               reason = ""
	reasonMalformed    reason = "malformed, not signed by us, or another kind of token"
	reasonIssuer       reason = "another issuer"
	reasonAhead        reason = "dated ahead of our clock"
	reasonExpired      reason = "expired"
	reasonLifetime     reason = "times do not fit together"
	reasonKey          reason = "its signing key is no longer good"
	reasonRevoked      reason = "revoked"
	reasonAccount      reason = "its account does not exist"
	reasonAccountState reason = "its account is disabled or expired"
	reasonGeneration   reason = "its account's tokens were revoked"
	reasonCredential   reason = "its credential is deleted or expired"
	reasonAudience     reason = "its resource server does not exist"
	reasonElsewhere    reason = "meant for another audience"
	reasonNotShown     reason = "not shown to this caller"
)

// verified is what the signature and the text of a token prove for good. Whether
// the token still stands is not in here.
type verified struct {
	claims  Claims
	scopes  []string // of claims.Scope
	payload []byte   // as it was signed
	keyID   string
}

// entryOverhead is what a verified token costs beside its payload: key, struct,
// the string that the claims share with a second copy of the payload, scope and
// role headers, the map's own share.
const entryOverhead = 640

func (v *verified) size() int { return 2*len(v.payload) + entryOverhead }

// Checker verifies tokens and judges whether they still stand. It remembers only
// tokens that we signed, so that nobody can push others out with text of their
// own making.
type Checker struct {
	cfg   Config
	cache *recent.Memory[*verified]
}

// NewChecker makes a Checker; it refuses a configuration that cannot work.
func NewChecker(cfg Config) (*Checker, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Checker{cfg: cfg, cache: recent.New(cfg.CacheBytes, (*verified).size)}, nil
}

// CacheBytes is the memory that verified tokens take right now.
func (c *Checker) CacheBytes() int { return c.cache.Held() }

// Verify accepts a token of ours for any audience that still stands. What is no
// good is [fault.InvalidToken]; Unavailable means that it cannot be told now.
func (c *Checker) Verify(ctx context.Context, raw string) (*Claims, error) {
	v, _, err := c.accept(ctx, raw)
	if err != nil {
		return nil, err
	}
	claims := v.claims
	return &claims, nil
}

// Bearer accepts a token for the management audience (RFC 6750). The caller may
// use what the token says, its account still holds and its credential still
// gives: a role that was taken away counts at once, a key that was narrowed too,
// and a token that was narrowed stays narrow.
func (c *Checker) Bearer(ctx context.Context, raw string) (*Caller, error) {
	if raw == "" {
		return nil, fault.Unauthenticated()
	}
	v, st, err := c.accept(ctx, raw)
	if err != nil {
		return nil, err
	}
	if v.claims.Audience != identity.ManagementIdentifier {
		return nil, fault.InvalidToken().Because(reasonElsewhere)
	}
	return c.caller(v, st), nil
}

// caller is who a token stands for now.
func (c *Checker) caller(v *verified, st standing) *Caller {
	caller := &Caller{
		ClientID: v.claims.ClientID, Principal: st.principal, CredentialID: v.claims.CredentialID,
		TokenID: v.claims.TokenID, ExpiresAt: v.claims.Expires(), verified: v,
	}
	var held []string
	held, caller.Roles = st.principal.Grants[identity.ManagementIdentifier].At(c.cfg.Clock.Now())
	credential, _ := st.principal.Credential(v.claims.CredentialID) // judged with the token
	caller.Scopes = intersect(v.scopes, credential.Narrow(identity.ManagementResourceServerID, held))
	return caller
}

// Still is what a caller that Bearer has accepted is now, if it would be accepted
// and may still use a permission: else InvalidToken or InsufficientScope.
// Unavailable means that it cannot be told.
func (c *Checker) Still(ctx context.Context, caller *Caller, permission string) (*Caller, error) {
	if caller.verified == nil {
		return nil, fault.InvalidToken()
	}
	if err := c.fresh(); err != nil {
		return nil, err
	}
	st, why, err := c.judge(ctx, caller.verified)
	if err != nil {
		return nil, err
	}
	if why != good {
		return nil, fault.InvalidToken().Because(why)
	}
	now := c.caller(caller.verified, st)
	if !slices.Contains(now.Scopes, permission) {
		return nil, fault.InsufficientScope(permission)
	}
	return now, nil
}

func (c *Checker) accept(ctx context.Context, raw string) (*verified, standing, error) {
	// First of all: while keys or revocations cannot be told, no token is bad.
	if err := c.fresh(); err != nil {
		return nil, standing{}, err
	}
	v, err := c.verify(raw)
	if err != nil {
		c.explain(ctx, nil, err)
		return nil, standing{}, fault.InvalidToken().Because(err)
	}
	st, why, err := c.judge(ctx, v)
	if err != nil {
		return nil, standing{}, err
	}
	if why != good {
		c.explain(ctx, v, why)
		return nil, standing{}, fault.InvalidToken().Because(why)
	}
	return v, st, nil
}

// explain notes for whoever debugs a client why a token is no good, which no
// caller is ever told.
func (c *Checker) explain(ctx context.Context, v *verified, why error) {
	if !c.cfg.Log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	id := ""
	if v != nil {
		id = v.claims.TokenID
	}
	if r := jose.Reason(why); r != "" {
		why = reason(r)
	}
	c.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "token refused", slog.String("token_id", id), slog.String("reason", why.Error()))
}

// verify is all that depends on the text of the token and on our keys. It is
// the expensive part, and the part that stays true.
func (c *Checker) verify(raw string) (*verified, error) {
	if len(raw) > maxPresented {
		return nil, reasonMalformed
	}
	sum := recent.Sum(c.cache, raw)
	if v := c.cache.Get(&sum); v != nil {
		return v, nil
	}
	m, err := jose.Parse(raw, jose.Rules{Typ: Type, MaxSize: maxPresented, Keys: c.cfg.Keys.PublicKey})
	if err != nil {
		return nil, err
	}
	claims, err := decodeClaims(m.Payload)
	if err != nil {
		return nil, err
	}
	if claims.Issuer != c.cfg.Issuer {
		return nil, reasonIssuer
	}
	if claims.Subject != claims.ClientID || identity.ParseID(identity.PrefixToken, claims.TokenID) != nil ||
		identity.ParseID(identity.PrefixServiceAccount, claims.ClientID) != nil {
		return nil, reasonMalformed
	}
	v := &verified{claims: claims, scopes: claims.Scopes(), payload: m.Payload, keyID: m.Header.KeyID}
	c.cache.Put(&sum, v)
	return v, nil
}

// standing is what a good token rests on now.
type standing struct {
	principal *store.Principal
	server    *identity.ResourceServer
	at        time.Time // when that was asked
}

// judge says whether a verified token still stands. It is asked anew each time,
// because every line of it can change at any moment; all of it is answered from
// memory that is at most 5 s old, or not at all: who calls has asked fresh.
func (c *Checker) judge(ctx context.Context, v *verified) (standing, reason, error) {
	now := c.cfg.Clock.Now()
	if why := judgeTimes(&v.claims, now); why != good {
		return standing{}, why, nil
	}
	if c.cfg.Keys.PublicKey(v.keyID) == nil {
		return standing{}, reasonKey, nil
	}
	if c.cfg.Store.TokenRevoked(v.claims.TokenID) {
		return standing{}, reasonRevoked, nil
	}
	p, why, err := c.judgeAccount(ctx, &v.claims, now)
	if err != nil || why != good {
		return standing{}, why, err
	}
	rs, err := c.cfg.Store.ResourceServerByAudience(ctx, v.claims.Audience)
	if fault.Is(err, fault.CodeNotFound) {
		return standing{}, reasonAudience, nil
	}
	if err != nil {
		return standing{}, good, err
	}
	return standing{p, rs, now}, good, nil
}

// fresh is Unavailable while what judge goes by may be out of date.
func (c *Checker) fresh() error {
	if err := c.cfg.Store.Fresh(); err != nil {
		return err
	}
	return c.cfg.Keys.Fresh()
}

// judgeTimes holds exp, nbf and iat (RFC 7519 section 4.1) against our clock.
// What is signed up to 10 s ahead is accepted, since nodes' clocks differ;
// beyond, and after exp, there is no grace.
func judgeTimes(c *Claims, now time.Time) reason {
	ahead := now.Add(MaxAhead).Unix()
	switch {
	case c.ExpiresAt <= c.IssuedAt, c.ExpiresAt-c.IssuedAt > int64(MaxLifetime/time.Second), c.NotBefore < c.IssuedAt:
		return reasonLifetime
	case c.IssuedAt > ahead, c.NotBefore > ahead:
		return reasonAhead
	case now.Unix() >= c.ExpiresAt:
		return reasonExpired
	}
	return good
}

// judgeAccount asks whether account and credential still stand. When either is
// unknown here, another node may have made it a moment ago, so the database is
// asked, as seldom as the store allows.
func (c *Checker) judgeAccount(ctx context.Context, claims *Claims, now time.Time) (*store.Principal, reason, error) {
	p, why, err := c.principal(ctx, c.cfg.Store.Principal, claims, now)
	if err == nil && (why == reasonAccount || why == reasonCredential) {
		p, why, err = c.principal(ctx, c.cfg.Store.RefreshPrincipal, claims, now)
	}
	return p, why, err
}

func (c *Checker) principal(
	ctx context.Context, read func(context.Context, string) (*store.Principal, error), claims *Claims, now time.Time,
) (*store.Principal, reason, error) {
	p, err := read(ctx, claims.ClientID)
	if fault.Is(err, fault.CodeNotFound) {
		return nil, reasonAccount, nil
	}
	if err != nil {
		return nil, good, err
	}
	switch credential, ok := p.Credential(claims.CredentialID); {
	case !p.Account.Live(now):
		return nil, reasonAccountState, nil
	case claims.Gen < p.Account.Gen:
		return nil, reasonGeneration, nil
	case !ok || !credential.Live(now):
		return nil, reasonCredential, nil
	}
	return p, good, nil
}

// intersect gives what stands in both of two sorted lists.
func intersect(a, b []string) []string {
	out := make([]string, 0, min(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			out = append(out, a[0])
			a, b = a[1:], b[1:]
		case a[0] < b[0]:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return out
}
