package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/limit"
)

// realm is what the WWW-Authenticate header calls us.
const realm = `realm="marque"`

// handleError renders whatever has failed: a use case, a handler, Fiber's
// router, or fasthttp before any of our code has seen the request.
func (s *server) handleError(c *fiber.Ctx, err error) error {
	k := s.begin(c)
	f := toFault(err)
	k.seen.code = string(f.Code)
	s.log(c, k, f)
	if !k.seen.chained {
		// fasthttp has refused it by itself: no handler will observe the answer.
		defer s.done(c.Context(), k)
	}

	if f.RetryAfter > 0 {
		c.Set(fiber.HeaderRetryAfter, wholeSeconds(f.RetryAfter))
	}
	if strings.HasPrefix(c.Path(), s.base+"/oauth2/") {
		return renderOAuthError(c, k, f)
	}
	return renderProblem(c, k, f)
}

// toFault makes a fault of anything.
func toFault(err error) *fault.Error {
	var framework *fiber.Error
	switch {
	case errors.As(err, &framework):
		return frameworkFault(framework)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Unavailable(err)
	}
	return fault.From(err)
}

// frameworkFault is an error that Fiber, fasthttp or the generated code has
// made. Its text repeats parts of the request and is not shown.
func frameworkFault(err *fiber.Error) *fault.Error {
	switch err.Code {
	case fiber.StatusNotFound:
		return fault.NotFound("path")
	case fiber.StatusMethodNotAllowed:
		return fault.New(fault.KindInvalid, fault.CodeMethodNotAllowed, "this path does not take this method")
	case fiber.StatusRequestEntityTooLarge:
		return fault.New(fault.KindTooLarge, fault.CodeRequestTooLarge, "a request body may have %d bytes", maxBody)
	case fiber.StatusRequestHeaderFieldsTooLarge:
		return fault.New(fault.KindTooLarge, fault.CodeHeaderTooLarge, "the request line and headers together may have %d bytes", maxHeader)
	case fiber.StatusRequestTimeout, fiber.StatusBadGateway:
		return fault.Invalid("the request did not arrive whole in time")
	case fiber.StatusBadRequest, fiber.StatusUnprocessableEntity:
		return fault.Invalid("the request is malformed")
	}
	return fault.Internal(err)
}

// log writes the private cause, once, where somebody has to look into it.
func (s *server) log(c *fiber.Ctx, k *call, f *fault.Error) {
	level := slog.LevelDebug
	switch f.Kind {
	case fault.KindInternal:
		level = slog.LevelError
	case fault.KindUnavailable:
		level = slog.LevelWarn
		if errors.Is(f, limit.ErrOverloaded) {
			level = slog.LevelDebug // each would cost as much as an answer; they are counted
		}
	}
	ctx := c.UserContext()
	if !s.Log.Enabled(ctx, level) {
		return
	}
	s.Log.LogAttrs(ctx, level, "request failed",
		slog.String("request_id", k.meta.RequestID), slog.String("method", c.Method()),
		slog.String("route", c.Route().Path), slog.Any("error", f))
}

// wholeSeconds rounds up: who waits as long as told must not come too early.
func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))
}

// statusOf is the HTTP status of a fault.
func statusOf(f *fault.Error) int {
	switch f.Code {
	case fault.CodeMethodNotAllowed:
		return fiber.StatusMethodNotAllowed
	case fault.CodeHeaderTooLarge:
		return fiber.StatusRequestHeaderFieldsTooLarge
	}
	switch f.Kind {
	case fault.KindInvalid:
		return fiber.StatusBadRequest
	case fault.KindUnauthenticated:
		return fiber.StatusUnauthorized
	case fault.KindDenied:
		return fiber.StatusForbidden
	case fault.KindNotFound:
		return fiber.StatusNotFound
	case fault.KindConflict:
		return fiber.StatusConflict
	case fault.KindPrecondition:
		return fiber.StatusPreconditionFailed
	case fault.KindUnprocessable:
		return fiber.StatusUnprocessableEntity
	case fault.KindTooLarge:
		return fiber.StatusRequestEntityTooLarge
	case fault.KindLimited:
		return fiber.StatusTooManyRequests
	case fault.KindUnsupported:
		return fiber.StatusUnsupportedMediaType
	case fault.KindUnavailable:
		return fiber.StatusServiceUnavailable
	}
	return fiber.StatusInternalServerError
}

// challenges reports whether a refusal of a bearer is one of the three that RFC
// 6750 section 3.1 has codes for. A failure of ours says nothing of the token,
// and a client that is challenged would throw away a good one.
func challenges(f *fault.Error) bool {
	switch f.Kind {
	case fault.KindUnauthenticated, fault.KindDenied, fault.KindInvalid:
		return true
	}
	return false
}

// bearerChallenge is the WWW-Authenticate header of RFC 6750 section 3. Who has
// sent no token is told no error: there was no attempt that could have failed.
func bearerChallenge(f *fault.Error) string {
	challenge := "Bearer " + realm
	if f.Code == fault.CodeUnauthenticated {
		return challenge
	}
	challenge += `, error="` + string(f.Code) + `", error_description="` + asDescription(f.Detail) + `"`
	if f.Permission != "" {
		challenge += `, scope="` + f.Permission + `"`
	}
	return challenge
}

// asDescription fits a text into the characters that RFC 6749 section 5.2 and
// RFC 6750 section 3 allow in error_description.
func asDescription(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\':
			return '/'
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s)
}
