package httpapi

import (
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/operation"
)

// signIn is the first half of admission: the caller proves who it is in the way
// that the operation asks for, and holds the operation's permission. It runs
// where the matched route is known and no body has been parsed, so that nobody
// who is not signed in learns what is wrong with a body.
func (s *server) signIn(c *fiber.Ctx, next fiber.Handler) error {
	k, e := s.begin(c), s.contract.find(c)
	k.admitted = true
	if e == nil {
		return fiber.ErrNotFound // checkRoutes has seen to it that this cannot be
	}
	if issues(e) {
		if err := s.Gate.Enter(); err != nil {
			k.seen.operation, k.seen.held = e.ID, true
			return err
		}
		defer s.Gate.Leave()
	}
	if err := s.authorize(c, k, e); err != nil {
		return err
	}
	return s.refused(c.UserContext(), k, e, next(c))
}

// issues reports whether an operation is a way into the pipeline of tokens, which
// keeps its own record of what is refused.
func issues(e *endpoint) bool {
	return e.SignIn == operation.Client || e.SignIn == operation.APIKey
}

func (s *server) authorize(c *fiber.Ctx, k *call, e *endpoint) error {
	k.seen.operation = e.ID
	authorization := headerValues(c.Context(), fiber.HeaderAuthorization)
	k.usedHeader, k.policy = len(authorization) > 0, e.Limit
	switch e.SignIn {
	case operation.None:
		return nil
	case operation.Bearer:
		if err := s.bearer(c, k, authorization); err != nil {
			k.bearerFailed = true
			return s.refused(c.UserContext(), k, e, err)
		}
		if err := s.limit(c.UserContext(), k, e, s.Management); err != nil {
			return err
		}
		if e.Permission != "" && !k.caller.Has(e.Permission) {
			k.bearerFailed = true
			return s.refused(c.UserContext(), k, e, fault.InsufficientScope(e.Permission))
		}
		if e.Permission != "" {
			s.Grants.Used(k.caller, e.Permission)
		}
		return nil
	case operation.APIKey:
		return nil // it is in the body, which is looked at next, and then by the pipeline
	case operation.Client:
		return s.presentClient(c, k, authorization)
	case operation.ClientOrBearer:
		if err := s.clientOrBearer(c, k, e, authorization); err != nil {
			return err
		}
		if e.Limit == operation.Introspection {
			return s.limit(c.UserContext(), k, e, s.Introspection)
		}
		return s.limit(c.UserContext(), k, e, s.Management)
	}
	return fault.Unauthenticated()
}

// bearer signs in by a token of ours in the Authorization header, the only one
// of RFC 6750's three ways that does not end up in logs and histories.
func (s *server) bearer(c *fiber.Ctx, k *call, authorization []string) (err error) {
	if err := tokenInQuery(c); err != nil {
		return err
	}
	switch {
	case len(authorization) > 1:
		return fault.Invalid("the request has more than one Authorization header")
	case len(authorization) == 0:
		return fault.Unauthenticated()
	}
	raw, ok := bearerToken(authorization[0])
	if !ok {
		return fault.Unauthenticated()
	}
	if k.caller, err = s.Checker.Bearer(c.UserContext(), raw); err != nil {
		return err
	}
	return s.Grants.AdmitBearer(k.caller, k.meta.Address)
}

// tokenInQuery refuses a bearer token that came where logs and histories keep it
// (RFC 6750 section 2.3), whatever else signs the request in.
func tokenInQuery(c *fiber.Ctx) error {
	if c.Request().URI().QueryArgs().Has("access_token") {
		return fault.Invalid("a token in the query is not read: send it in the Authorization header")
	}
	return nil
}

// bearerToken takes the token out of "Bearer <token>" (RFC 6750 section 2.1).
func bearerToken(authorization string) (string, bool) {
	scheme, raw, _ := strings.Cut(authorization, " ")
	return strings.TrimLeft(raw, " "), strings.EqualFold(scheme, "Bearer")
}

// presentClient reads the form and what the client presents in it. Whether that
// is any good is the first question of the token endpoint's pipeline, which
// also keeps the record of what is refused here.
func (s *server) presentClient(c *fiber.Ctx, k *call, authorization []string) (err error) {
	if err = k.readForm(c); err == nil {
		k.client, err = clientauth.Parse(authorization, k.form)
	}
	if err != nil {
		return s.Grants.Refuse(c.UserContext(), k.grantMeta(), err)
	}
	return nil
}

// clientOrBearer signs in at an OAuth endpoint other than the token endpoint.
func (s *server) clientOrBearer(c *fiber.Ctx, k *call, e *endpoint, authorization []string) (err error) {
	if err := k.readForm(c); err != nil {
		return err
	}
	if err := tokenInQuery(c); err != nil {
		k.bearerFailed = true
		return err
	}
	if len(authorization) == 1 {
		if _, ok := bearerToken(authorization[0]); ok {
			if k.form.Get("client_secret") != "" || k.form.Get("client_assertion") != "" {
				return fault.Invalid("the request carries both a bearer token and a client authentication")
			}
			k.bearerFailed = true
			if k.form.Get("access_token") != "" {
				return fault.Invalid("the request carries a bearer token in the header and in the form")
			}
			if err = s.bearer(c, k, authorization); err == nil {
				k.bearerFailed = false
			}
			return s.refused(c.UserContext(), k, e, err)
		}
	}
	if k.client, err = clientauth.Parse(authorization, k.form); err != nil {
		return err
	}
	return s.signInClient(k)
}

// signInClient makes the client of a call its caller.
func (s *server) signInClient(k *call) (err error) {
	if k.proved, err = s.Grants.SignIn(&k.ctx, k.client, k.grantMeta()); err == nil {
		k.caller = &k.proved
	}
	return err
}

// headerValues are the values of all header fields with the name, copied.
func headerValues(c *fasthttp.RequestCtx, name string) []string {
	var values []string
	for _, v := range c.Request.Header.PeekAll(name) {
		values = append(values, string(v))
	}
	return values
}
