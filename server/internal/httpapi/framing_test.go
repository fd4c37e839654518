package httpapi

import (
	"bufio"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// A request that two readers could take differently is refused, and what comes
// after it on the connection is no request (RFC 9112 sections 3.2, 5.2, 6.1, 6.3).
func TestAmbiguousRequestsEndTheConnection(t *testing.T) {
	t.Parallel()
	address, roots := listen(t, edge(t, testIssuer))
	const (
		start  = "POST /v1/roles HTTP/1.1\r\n"
		host   = "Host: marque.example.com\r\n"
		inside = "GET /openapi.json HTTP/1.1\r\nHost: marque.example.com\r\n\r\n"
	)
	cases := map[string]string{
		"two lengths":               start + host + "Content-Length: 61\r\nContent-Length: 3\r\n\r\na=1",
		"the same length twice":     start + host + "Content-Length: 3\r\ncontent-length: 3\r\n\r\na=1",
		"length and chunks":         start + host + "Content-Length: 61\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks and length":         start + host + "transfer-encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"two codings":               start + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"a coding that is not ours": start + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"identity":                  start + host + "Transfer-Encoding: identity\r\n\r\n",
		"a hidden coding":           start + host + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"chunks in HTTP/1.0":        "POST /v1/roles HTTP/1.0\r\n" + host + "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a field on two lines":      start + host + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"no host":                   start + "Content-Length: 3\r\n\r\na=1",
		"two hosts":                 start + host + "Host: other.example.com\r\nContent-Length: 3\r\n\r\na=1",
		"a space before the colon":  start + host + "Content-Length : 3\r\n\r\na=1",
		"a length with a sign":      start + host + "Content-Length: +3\r\n\r\na=1",
		"two lengths in one field":  start + host + "Content-Length: 3, 3\r\n\r\na=1",
		"a length that overflows":   start + host + "Content-Length: 18446744073709551619\r\n\r\na=1",
	}
	for name, raw := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, body, rest := exchange(t, address, roots, raw+inside)
			if first.StatusCode != http.StatusBadRequest || !strings.Contains(body, `"code":"invalid_request"`) || !first.Close {
				t.Errorf("%s, close %v: %s", first.Status, first.Close, body)
			}
			if rest != "" {
				t.Errorf("the connection went on: %.200s", rest)
			}
		})
	}
}

// What has one reading is read, body and all, and the next request after it.
func TestClearlyFramedRequestsKeepTheConnection(t *testing.T) {
	t.Parallel()
	address, roots := listen(t, edge(t, testIssuer))
	const after = "GET /openapi.json HTTP/1.1\r\nHost: marque.example.com\r\nConnection: close\r\n\r\n"
	for name, raw := range map[string]string{
		"length":             "POST /nowhere HTTP/1.1\r\nhost: marque.example.com\r\nContent-Length: 3\r\n\r\na=1",
		"chunks":             "POST /nowhere HTTP/1.1\r\nHost:marque.example.com\r\nTransfer-Encoding:\tChunked \r\n\r\n3\r\na=1\r\n0\r\n\r\n",
		"a body of a GET":    "GET /nowhere HTTP/1.1\r\nHost: marque.example.com\r\nContent-Length: 3\r\n\r\na=1",
		"none":               "GET /nowhere HTTP/1.1\r\nHost: marque.example.com\r\n\r\n",
		"HTTP/1.0, no host":  "GET /nowhere HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"a name beside ours": "GET /nowhere HTTP/1.1\r\nHost: marque.example.com\r\nX-Host: a\r\nX-Content-Length: 9\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, body, rest := exchange(t, address, roots, raw+after)
			if first.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %s", first.Status, body)
			}
			if !strings.HasPrefix(rest, "HTTP/1.1 200 OK\r\n") {
				t.Errorf("then: %.200s", rest)
			}
		})
	}
}

// A request that is not found ambiguous ends for us where it ends for another
// reader of HTTP, and is for the same host.
func FuzzFraming(f *testing.F) {
	for _, headers := range []string{
		"Host: a\r\nContent-Length: 3\r\n", "Host: a\r\nTransfer-Encoding: chunked\r\n", "host:a\n", "Host: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
		"Host: a\r\nTransfer-Encoding:\r\n chunked\r\n", "Host: a\r\nTransfer-Encoding: identity\r\n", "Host: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Host: a\r\nHost: b\r\n",
	} {
		f.Add(headers)
	}
	f.Fuzz(func(t *testing.T, headers string) {
		raw := "POST /v1/roles HTTP/1.1\r\n" + headers + "\r\n"
		var ours fasthttp.RequestHeader
		if ours.Read(bufio.NewReader(strings.NewReader(raw))) != nil || ambiguity(&ours) != "" {
			return
		}
		theirs, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return // what another reader refuses, it takes for nothing else
		}
		length := int64(max(0, ours.ContentLength()))
		if ours.ContentLength() == -1 {
			length = -1 // chunked, for both
		}
		if theirs.ContentLength != length || theirs.Host != string(ours.Host()) {
			t.Errorf("%q: %d bytes for %q, and another reads %d for %q", headers, length, ours.Host(), theirs.ContentLength, theirs.Host)
		}
	})
}

// exchange is [wire], with all that comes after the first answer.
func exchange(t *testing.T, address string, roots *x509.CertPool, raw string) (first *http.Response, body, rest string) {
	t.Helper()
	first, body, after := wired(t, address, roots, raw)
	more, err := io.ReadAll(after)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return first, body, string(more)
}
