package marque

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Token is a token as a [TokenSource] hands it out.
type Token struct {
	AccessToken Secret
	Scope       string    // what was granted, separated by spaces
	Expires     time.Time // by this machine's clock
}

// RefreshWindows says how long before its end a token is renewed.
type RefreshWindows struct {
	// Advisory: with less time left than this, a token is still handed out while
	// one renewal runs in the background.
	Advisory time.Duration
	// Mandatory: with less time left than this, callers wait for the renewal.
	Mandatory time.Duration
}

// refreshPause is how long a failed renewal in the background is not tried again.
const refreshPause = 5 * time.Second

// windows of a token that lives for ttl, where the caller has set none. A token
// that lives for a minute is then not renewed at every call.
func windows(ttl time.Duration) RefreshWindows {
	return RefreshWindows{Advisory: min(120*time.Second, ttl/2), Mandatory: min(30*time.Second, ttl/4)}
}

// TokenSource hands out tokens for one resource and one set of scopes.
//
//   - A token that is fresh comes out of memory, without a lock.
//   - In the advisory window (the last 120 s, at most half of its life) it still
//     does, while one renewal runs in the background; a failed one is tried again
//     after 5 s.
//   - In the mandatory window (the last 30 s, at most a quarter of its life), or
//     without a token, callers wait for the one request in flight and share its
//     token or its error.
//   - That request belongs to no caller: one that gives up leaves it to the others.
//   - Passing failures are retried only while a caller waits.
//
// Get it from [Client.TokenSource].
type TokenSource struct {
	client   *Client
	key      sourceKey
	current  atomic.Pointer[heldToken]
	notUntil atomic.Int64 // renewal in the background pauses until then, Unix nanoseconds

	mu     sync.Mutex
	flight *flight[*heldToken] // nil when no request is in flight
}

// sourceKey is what tells two sources of a client apart.
type sourceKey struct {
	resource string
	scope    string
}

// heldToken is a token with the moments at which it changes what callers get.
type heldToken struct {
	Token
	advisory, mandatory time.Time
}

// TokenSource gives the source of tokens for the resource server with this
// identifier; "" is the service account's default one. Scopes narrow the tokens
// to these permissions; none means all that the account holds there. The same
// arguments give the same source.
func (c *Client) TokenSource(resource string, scopes ...string) *TokenSource {
	sorted := slices.Compact(slices.Sorted(slices.Values(scopes)))
	key := sourceKey{resource: resource, scope: strings.Join(sorted, " ")}
	c.mu.Lock()
	defer c.mu.Unlock()
	source := c.sources[key]
	if source == nil {
		source = &TokenSource{client: c, key: key}
		c.sources[key] = source
	}
	return source
}

// Token returns a token that is good now. The error is an [*Error]; it is of
// KindAuthentication where the server gave no token.
func (s *TokenSource) Token(ctx context.Context) (Token, error) {
	t, err := s.acquire(ctx)
	if err != nil {
		return Token{}, err
	}
	return t.Token, nil
}

// Drop forgets a token that an API has refused, so that the next caller gets a
// new one. It does nothing where another has taken its place already.
func (s *TokenSource) Drop(t Token) {
	if held := s.current.Load(); held != nil && held.AccessToken == t.AccessToken {
		s.current.CompareAndSwap(held, nil)
	}
}

func (s *TokenSource) acquire(ctx context.Context) (*heldToken, error) {
	if held := s.held(); held != nil {
		return held, nil
	}
	if ctx.Err() != nil {
		return nil, ended(s.operation(), ctx)
	}
	held, f := s.join()
	if held != nil {
		return held, nil
	}
	return f.wait(ctx, s.operation())
}

// operation is the id of the one that gives the tokens.
func (s *TokenSource) operation() string {
	op, _ := s.client.credential.grant(s.key.resource, s.key.scope)
	return op.id
}

// held is the token in memory, if no caller has to wait for a better one. In
// the advisory window it sees to its renewal.
func (s *TokenSource) held() *heldToken {
	held, now := s.current.Load(), s.client.config.Clock.Now()
	if held == nil || !now.Before(held.mandatory) {
		return nil
	}
	if !now.Before(held.advisory) && now.UnixNano() >= s.notUntil.Load() {
		s.mu.Lock()
		// Unless another caller has begun it, or it has ended meanwhile.
		if s.flight == nil && s.current.Load() == held && now.UnixNano() >= s.notUntil.Load() {
			s.begin()
		}
		s.mu.Unlock()
	}
	return held
}

// join makes the caller a waiter of the flight that there is, or of a new one;
// unless one has ended meanwhile: then its token is there.
func (s *TokenSource) join() (*heldToken, *flight[*heldToken]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.current.Load(); held != nil && s.client.config.Clock.Now().Before(held.mandatory) {
		return held, nil
	}
	f := s.flight
	if f == nil {
		f = s.begin()
	}
	f.waiters.Add(1)
	return nil, f
}

// begin starts a flight. The caller holds s.mu.
func (s *TokenSource) begin() *flight[*heldToken] {
	f := newFlight[*heldToken]()
	s.flight = f
	go s.fly(f)
	return f
}

// fly fetches a token on a context of its own, which no caller can cancel. Each
// of its attempts is limited by the client's TokenTimeout.
func (s *TokenSource) fly(f *flight[*heldToken]) {
	f.value, f.err = s.fetch(context.Background(), func() bool { return f.waiters.Load() > 0 })
	// Together under the lock: who finds no flight there finds the token, and who
	// has had this token refused can never join the flight that brought it.
	s.mu.Lock()
	if f.err == nil {
		s.current.Store(f.value)
	} else {
		s.notUntil.Store(s.client.config.Clock.Now().Add(refreshPause).UnixNano())
	}
	s.flight = nil
	s.mu.Unlock()
	close(f.done)
	if f.err != nil {
		s.client.log.LogAttrs(context.Background(), slog.LevelWarn, "marque token could not be had",
			slog.String("resource", s.key.resource), slog.String("kind", string(asError(f.err).Kind)), slog.String("code", string(CodeOf(f.err))))
	}
}

// drop forgets exactly this token.
func (s *TokenSource) drop(t *heldToken) { s.current.CompareAndSwap(t, nil) }

func (s *TokenSource) fetch(ctx context.Context, keepTrying func() bool) (*heldToken, error) {
	op, in := s.client.credential.grant(s.key.resource, s.key.scope)
	call, err := s.client.prepare(op, in)
	if err != nil {
		return nil, err
	}
	call.keepTrying = keepTrying
	answer, err := call.run(ctx, nil)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Kind == KindAPI {
			e.Kind = KindAuthentication
		}
		return nil, err
	}
	var said struct {
		AccessToken Secret `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"`
		Scope       string `json:"scope"`
	}
	if err := answer.decode(op, &said); err != nil {
		return nil, err
	}
	useless := func(detail string) error {
		e := answer.problem(KindAuthentication, detail)
		e.Operation = op.id
		return e
	}
	switch ttl := time.Duration(said.ExpiresIn) * time.Second; {
	case !plainToken(said.AccessToken.Reveal()):
		return nil, useless("the answer of the token endpoint has no access token that can be sent")
	case !strings.EqualFold(said.TokenType, "Bearer"):
		return nil, useless("the token is of a type that this client cannot present: only Bearer is known")
	case said.ExpiresIn <= 0 || said.ExpiresIn > maxTokenSeconds:
		return nil, useless("the token is expired already, or does not say when it ends")
	default:
		w := windows(ttl)
		if set := s.client.config.RefreshWindows; set != nil {
			w = *set
		}
		// Counted from the request, so that the way back shortens it and never lengthens it.
		ends := answer.asked.Add(ttl)
		return &heldToken{
			Token:    Token{AccessToken: said.AccessToken, Scope: said.Scope, Expires: ends},
			advisory: ends.Add(-max(w.Advisory, w.Mandatory)), mandatory: ends.Add(-w.Mandatory),
		}, nil
	}
}

// maxTokenSeconds is far beyond the day that a token of Marque may live.
const maxTokenSeconds = 10 * 365 * 24 * 3600

// plainToken reports whether text may stand in a header (RFC 6750 section 2.1).
func plainToken(text string) bool {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c > '~' {
			return false
		}
	}
	return text != ""
}
