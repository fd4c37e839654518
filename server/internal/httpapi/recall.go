package httpapi

import (
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/recent"
	"github.com/marque-id/marque/server/internal/token"
)

// recall answers introspections in words that were answered before. Whoever
// guards an API asks about a token in the same words for as long as the token is
// presented to it, and what the words mean is for good: which client they name,
// what its secret is compared as, and that the token is signed by us. That is
// what is recalled, by a digest of the words, so that neither the secret nor
// the token stays in memory. All else is asked anew each time, by the functions
// that are there for new words: budgets, credential, gate, quota, and whether
// the token stands.
//
// It comes before the framework, whose routing, binding and copying cost more
// than the answer. What is not exactly such a request is left to it.
type recall struct {
	endpoint *endpoint
	uri      string
	memory   *recent.Memory[*recalled]
}

const (
	// recallBytes bounds what is recalled.
	recallBytes = 16 << 20
	// maxWords is longer than nearly all introspections are.
	maxWords = 8 << 10
	// recalledOverhead is what an entry takes beside its token.
	recalledOverhead = 400
)

// recalled is what words mean.
type recalled struct {
	client clientauth.Presented // without its secret
	token  token.Known
}

func (r *recalled) size() int { return r.token.Size() + recalledOverhead }

// recallWith lets the application recall.
func (s *server) recallWith(app *fiber.App) {
	uri := s.base + "/oauth2/introspect"
	s.recall = recall{
		endpoint: s.contract.endpoints[route{fiber.MethodPost, uri}], uri: uri,
		memory: recent.New(recallBytes, (*recalled).size),
	}
	server := app.Server()
	next := server.Handler
	server.Handler = func(c *fasthttp.RequestCtx) {
		r, words := s.recall.known(c)
		if r == nil {
			if words != nil {
				c.SetUserValue(wordsKey{}, words)
			}
			next(c)
			return
		}
		k := s.calls.Get().(*call)
		err := s.introspectAgain(c, k, r)
		asked := k.ctx.end()
		if err != nil {
			framework := app.AcquireCtx(c)
			defer app.ReleaseCtx(framework)
			k.carriedBy(framework)
			_ = s.handleError(framework, err) // which has written it
			return                            // and observe tells of it
		}
		s.done(c, k)
		if !asked { // nothing has kept it, then
			*k = call{}
			s.calls.Put(k)
		}
	}
}

// wordsKey is where the words of a request are that nothing is known of yet.
type wordsKey struct{}

// known is what the words of a request mean, or nil. words is nil for a request
// that is not one to recall.
func (r *recall) known(c *fasthttp.RequestCtx) (known *recalled, words *recent.Digest) {
	h := &c.Request.Header
	if !h.IsPost() || string(h.RequestURI()) != r.uri {
		return nil, nil
	}
	sum, exact := r.wordsOf(c)
	if !exact {
		return nil, nil
	}
	if known = r.memory.Get(&sum); known != nil {
		return known, nil
	}
	return nil, new(sum)
}

// remember keeps what the words of a call mean once all of it was found good.
func (s *server) remember(k *call, found *token.Introspection) {
	if k.words != nil && k.client.Method != clientauth.MethodNone && found.Active {
		s.recall.memory.Put(k.words, &recalled{s.Grants.WithoutSecret(k.client), found.Token})
	}
}

// wordsOf is the digest of all of a request to an OAuth endpoint that has a
// meaning there. exact is false for a request that is better read in full.
func (r *recall) wordsOf(c *fasthttp.RequestCtx) (words recent.Digest, exact bool) {
	h := &c.Request.Header
	var authorization []byte
	switch all := h.PeekAll(fiber.HeaderAuthorization); {
	case len(all) > 1 || len(all) == 1 && len(all[0]) == 0:
		return words, false
	case len(all) == 1:
		authorization = all[0]
	}
	body := c.Request.Body()
	if len(authorization)+len(body) > maxWords || len(h.ContentEncoding()) > 0 {
		return words, false
	}
	return recent.Sum(r.memory, h.ContentType(), authorization, body), true
}

// introspectAgain is admission and handler in one.
func (s *server) introspectAgain(c *fasthttp.RequestCtx, k *call, r *recalled) (err error) {
	defer s.recovered(&err)
	s.know(c, k)
	e := s.recall.endpoint
	k.admitted, k.seen.chained, k.seen.operation, k.policy = true, true, e.ID, e.Limit
	k.client, k.usedHeader = r.client, r.client.Challenge
	if err = s.signInClient(k); err != nil {
		return err
	}
	err = s.limit(&k.ctx, k, e, s.Introspection)
	setRateLimit(&c.Response.Header, k.policy, k.standing)
	if err != nil {
		return err
	}
	found, err := s.Tokens.IntrospectKnown(&k.ctx, k.caller, r.token)
	if err == nil {
		introspected(found).write(&c.Response)
	}
	return err
}
