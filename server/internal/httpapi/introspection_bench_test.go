package httpapi

import (
	"net/url"
	"strconv"
	"testing"

	"github.com/valyala/fasthttp"
)

// BenchmarkIntrospection is all that the server does for a token that it has
// seen before, but for TLS and the network: in the same words, and in others.
func BenchmarkIntrospection(b *testing.B) {
	w := newWorld(b)
	w.adminToken = w.token(w.admin)
	form := url.Values{"token": {w.adminToken}, "client_id": {w.admin.id}, "client_secret": {w.admin.secret}}.Encode()
	for name, other := range map[string]bool{"same words": false, "other words": true} {
		b.Run(name, func(b *testing.B) {
			handler := w.app.Server().Handler
			var c fasthttp.RequestCtx
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				c.ResetUserValues()
				c.Request.Reset()
				c.Response.Reset()
				c.Request.Header.SetMethod("POST")
				c.Request.SetRequestURI("/oauth2/introspect")
				c.Request.Header.SetContentType("application/x-www-form-urlencoded")
				c.Request.SetBodyString(form)
				if other {
					c.Request.AppendBodyString("&n=" + strconv.Itoa(n))
				}
				handler(&c)
				if c.Response.StatusCode() != 200 {
					b.Fatal(c.Response.StatusCode(), string(c.Response.Body()))
				}
			}
		})
	}
}
