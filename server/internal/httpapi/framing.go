package httpapi

import (
	"bytes"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/marque-id/marque/server/internal/fault"
)

// refuseAmbiguous answers 400 to a request whose end or whose host two readers
// could take differently, and ends its connection. fasthttp takes one of the
// readings without a word: behind a proxy that takes the other, what a client
// sends as a body would be answered as the request of somebody else.
func (s *server) refuseAmbiguous(app *fiber.App) {
	server := app.Server()
	next := server.Handler
	server.Handler = func(c *fasthttp.RequestCtx) {
		why := ambiguity(&c.Request.Header)
		if why == "" {
			next(c)
			return
		}
		framework := app.AcquireCtx(c)
		defer app.ReleaseCtx(framework)
		c.SetConnectionClose()
		_ = s.handleError(framework, fault.Invalid("the request is malformed: %s", why)) // which has written it
	}
}

// ambiguity is what RFC 9112 has refused: in section 3.2 not one Host, in 5.2 a
// field on several lines, in 6.1 and 6.3 more than one statement of where the
// body ends, or one that we cannot read. It is "" for what has one reading.
func ambiguity(h *fasthttp.RequestHeader) string {
	var hosts, lengths, codings int
	chunked := true
	for line := range bytes.Lines(h.RawHeaders()) {
		if line[0] == ' ' || line[0] == '\t' {
			return "a header field stands on more than one line"
		}
		// By the length of the name, since nearly all are none of these.
		switch colon := bytes.IndexByte(line, ':'); {
		case colon == len("Host") && strings.EqualFold(string(line[:colon]), "Host"):
			hosts++
		case colon == len("Content-Length") && strings.EqualFold(string(line[:colon]), "Content-Length"):
			lengths++
		case colon == len("Transfer-Encoding") && strings.EqualFold(string(line[:colon]), "Transfer-Encoding"):
			codings++
			chunked = chunked && strings.EqualFold(string(bytes.Trim(line[colon+1:], " \t\r\n")), "chunked")
		}
	}
	switch {
	case hosts > 1, hosts == 0 && h.IsHTTP11():
		return "there must be one Host"
	case lengths+codings > 1:
		return "there may be one Content-Length or one Transfer-Encoding"
	case codings > 0 && !(chunked && h.IsHTTP11()):
		return "the only transfer coding is chunked, of HTTP/1.1"
	}
	return ""
}
