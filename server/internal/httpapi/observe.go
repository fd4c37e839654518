package httpapi

import (
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/telemetry"
)

// seen is what is told of a call once it is answered.
type seen struct {
	operation string // operationId, once the route is known
	client    string // who has proved to be the client, at the token endpoint
	code      string // of the fault that was answered
	chained   bool   // the request has come through the chain, and so through observe
	held      bool   // the gate has refused it, and its answer is to be held back
}

// observe tells of each answer, after it was made and before it is sent.
func (s *server) observe(app *fiber.App) {
	server := app.Server()
	next := server.Handler
	server.Handler = func(c *fasthttp.RequestCtx) {
		next(c)
		if k, ok := c.UserValue(callKey{}).(*call); ok {
			if k.seen.held {
				s.Gate.Hold()
			}
			s.done(c, k)
		}
	}
}

func (s *server) done(c *fasthttp.RequestCtx, k *call) {
	if s.Requests == nil {
		return
	}
	now := s.Clock.Now()
	client := k.seen.client
	if k.caller != nil {
		client = k.caller.ClientID
	}
	s.Requests.Done(&telemetry.Request{
		Operation: k.seen.operation, Status: c.Response.StatusCode(), Code: k.seen.code,
		At: now, Took: max(0, now.Sub(c.Time())),
		RequestID: k.meta.RequestID, ClientID: client, Address: k.meta.Address, TraceID: k.meta.TraceID,
	})
}

// traceID is the id of the trace that the request belongs to. Two headers are
// none (W3C Trace Context, section 4.3: then the trace is started anew).
func traceID(c *fasthttp.RequestCtx) string {
	header := c.Request.Header.Peek("Traceparent")
	if len(header) == 0 || len(c.Request.Header.PeekAll("Traceparent")) != 1 {
		return ""
	}
	return telemetry.TraceID(string(header))
}
