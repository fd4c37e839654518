package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/grant"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/operation"
	"github.com/marque-id/marque/server/internal/recent"
	"github.com/marque-id/marque/server/internal/token"
)

// call is what is known of one request. It travels in the request's context,
// since handlers see no *fiber.Ctx; nothing in it points into Fiber's buffers.
type call struct {
	ctx      callContext
	meta     token.Meta
	at       time.Time // when it came
	seen     seen
	admitted bool          // admission has begun: the route is known
	caller   *token.Caller // who calls, where the operation asks for it
	proved   token.Caller  // the caller, where it is a client that has proved itself
	form     grant.Params  // of an OAuth endpoint
	client   clientauth.Presented
	words    *recent.Digest       // by which it can be recalled; nil: not
	standing limit.Standing       // with the quota of its account; zero until that was looked at
	policy   operation.LimitClass // which quota
	// How the sign-in went, for the WWW-Authenticate of a refusal.
	usedHeader   bool // there was an Authorization header
	bearerFailed bool // the refusal is one of RFC 6750
}

type callKey struct{}

// grantMeta is the same for the token endpoint.
func (k *call) grantMeta() grant.Meta {
	return grant.Meta{RequestID: k.meta.RequestID, TraceID: k.meta.TraceID, Address: k.meta.Address}
}

// begin gives the request its call, once. The error handler calls it too: what
// fasthttp refuses never comes through the chain.
func (s *server) begin(c *fiber.Ctx) *call {
	if k, ok := c.Context().UserValue(callKey{}).(*call); ok {
		return k
	}
	k := new(call)
	s.know(c.Context(), k)
	k.words, _ = c.Context().UserValue(wordsKey{}).(*recent.Digest)
	k.carriedBy(c)
	return k
}

// carriedBy lets the error handler, and whoever is given the context, find a call.
func (k *call) carriedBy(c *fiber.Ctx) {
	c.Context().SetUserValue(callKey{}, k)
	c.SetUserContext(&k.ctx)
}

// know fills a call with what is known of each, and gives the answer what each
// has.
func (s *server) know(c *fasthttp.RequestCtx, k *call) {
	// An inbound id is not taken over: it is text of the caller's choosing, and
	// ours stands in the audit log.
	k.at = s.Clock.Now()
	k.meta = token.Meta{
		RequestID: identity.NewID(identity.PrefixRequest, k.at),
		TraceID:   traceID(c),
		Address:   s.clientAddress(c),
	}
	k.ctx.call, k.ctx.deadline = k, c.Time().Add(s.RequestTimeout)

	h := &c.Response.Header
	h.SetCanonical([]byte("X-Request-Id"), []byte(k.meta.RequestID))
	for _, fixed := range s.headers {
		h.SetCanonical(fixed.name, fixed.value)
	}
}

// header is a field that every answer has, written as fasthttp keeps it.
type header struct{ name, value []byte }

// fixedHeaders are the fields of every answer. An answer that may be cached
// says so itself and replaces no-store.
func fixedHeaders(issuer string) []header {
	fields := [][2]string{
		{fiber.HeaderXContentTypeOptions, "nosniff"},
		{fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'"},
		{fiber.HeaderReferrerPolicy, "no-referrer"},
		{fiber.HeaderCacheControl, "no-store"},
	}
	// A browser would hold it against every other server on a developer's own
	// machine, whatever its port.
	if u, err := url.Parse(issuer); err == nil && u.Hostname() != "localhost" {
		fields = append(fields, [2]string{fiber.HeaderStrictTransportSecurity, "max-age=63072000"})
	}
	var headers []header
	for _, h := range fields {
		headers = append(headers, header{[]byte(h[0]), []byte(h[1])})
	}
	return headers
}

// clientAddress is where the request comes from: the peer of the connection, or
// whom a listed proxy names. From anybody else forwarded headers are not read.
func (s *server) clientAddress(c *fasthttp.RequestCtx) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	peer := tcp.AddrPort().Addr().Unmap()
	if !s.Forwarded.Trusts(peer) {
		return peer
	}
	return s.Forwarded.Client(peer, headerValues(c, s.Forwarded.Header()))
}

// chain is what every request passes before its route is looked for: it gets an
// id and a deadline, must be written in the one way that we read, and cannot
// bring the process down.
func (s *server) chain(c *fiber.Ctx) (err error) {
	defer s.recovered(&err)
	k := s.begin(c)
	k.seen.chained = true
	if err := plain(c); err != nil {
		return err
	}
	// Fiber cancels nothing when a client goes away or a database goes silent.
	defer k.ctx.end()
	if err = c.Next(); isBadRequest(err) && !k.admitted {
		err = s.unbound(c, k, err)
	}
	if k.standing.Quota > 0 {
		setRateLimit(&c.Response().Header, k.policy, k.standing)
	}
	return err
}

// recovered is deferred where the work on a request begins.
func (s *server) recovered(err *error) {
	if r := recover(); r != nil {
		s.Requests.Panicked()
		*err = fault.Internal(fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
	}
}

func isBadRequest(err error) bool {
	if err == nil {
		return false
	}
	var framework *fiber.Error
	return errors.As(err, &framework) && framework.Code == fiber.StatusBadRequest
}

// unbound is a request whose parameters the generated code could not bind. It
// binds them before admission, so admission is asked here: who is not signed in
// learns nothing of parameters, and who is gets the validator's precise answer.
func (s *server) unbound(c *fiber.Ctx, k *call, err error) error {
	k.admitted = true
	e := s.contract.find(c)
	if e == nil {
		return err
	}
	if err := s.authorize(c, k, e); err != nil {
		return err
	}
	if err := validateRequest(c, e); err != nil {
		return err
	}
	return err
}

// plain refuses what would be read differently by different readers: a path that
// is not in its own canonical form (escapes, double slashes, dots), and a body
// that has to be decoded first, whose true size nobody has bounded.
func plain(c *fiber.Ctx) error {
	if string(c.Request().URI().PathOriginal()) != string(c.Request().URI().Path()) {
		return fiber.ErrNotFound
	}
	if len(c.Request().Header.ContentEncoding()) > 0 {
		return fault.New(fault.KindUnsupported, fault.CodeUnsupportedMediaType, "the body must be sent without a content encoding")
	}
	return nil
}
