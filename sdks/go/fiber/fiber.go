// Package marquefiber is middleware for Fiber (v2) on the Go SDK of Marque. It is a
// module of its own, so that whoever does without Fiber does not install it.
//
//	app.Use(marquefiber.Protect(verifier, "https://invoices.example.com"))
//	app.Get("/invoices", marquefiber.RequireScopes("invoices:read"), list)
//
// Inside, marque.PrincipalFrom(c.UserContext()) tells who calls.
package marquefiber

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/gofiber/fiber/v2"

	marque "github.com/marque-id/marque/sdks/go"
)

// Protect lets requests pass that have a good token for this audience (the
// identifier of the API's resource server) with these permissions. All else is
// answered as [marque.Verifier.Protect] does. It panics if the audience is empty.
func Protect(verifier *marque.Verifier, audience string, scopes ...string) fiber.Handler {
	if audience == "" {
		panic("marque: Protect needs an audience, the identifier of the API's resource server")
	}
	scopes = slices.Clone(scopes)
	return func(c *fiber.Ctx) error {
		token, err := marque.BearerToken(request(c))
		if err != nil {
			return refuse(c, err)
		}
		principal, err := verifier.Verify(c.UserContext(), token, audience, scopes...)
		if err != nil {
			return refuse(c, err)
		}
		c.SetUserContext(marque.WithPrincipal(c.UserContext(), principal))
		return c.Next()
	}
}

// RequireScopes is for single routes inside of Protect: the token must give
// these permissions too.
func RequireScopes(scopes ...string) fiber.Handler {
	scopes = slices.Clone(scopes)
	return func(c *fiber.Ctx) error {
		principal, ok := marque.PrincipalFrom(c.UserContext())
		switch {
		case !ok: // not inside of Protect: nobody has been let in
			return refuse(c, &marque.TokenError{Reason: marque.ReasonMissing})
		case !principal.HasScopes(scopes...):
			return refuse(c, &marque.TokenError{Reason: marque.ReasonScope, Scopes: scopes})
		default:
			return c.Next()
		}
	}
}

// request is what marque.BearerToken looks at. Everything is copied: Fiber uses
// its buffers again.
func request(c *fiber.Ctx) *http.Request {
	r := &http.Request{Header: make(http.Header), URL: &url.URL{RawQuery: string(c.Request().URI().QueryString())}}
	for _, value := range c.Request().Header.PeekAll(fiber.HeaderAuthorization) {
		r.Header.Add(fiber.HeaderAuthorization, string(value))
	}
	return r
}

func refuse(c *fiber.Ctx, err error) error {
	w := &writer{c: c, header: make(http.Header)}
	marque.WriteTokenError(w, err)
	return nil
}

// writer is Fiber's response as an http.ResponseWriter.
type writer struct {
	c      *fiber.Ctx
	header http.Header
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	for name, values := range w.header {
		for _, value := range values {
			w.c.Response().Header.Add(name, value)
		}
	}
	w.c.Status(status)
}

func (w *writer) Write(b []byte) (int, error) { return w.c.Write(b) }
