package main

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/marque-id/marque/conformance/drivers/go/driver"
)

func staleServed(d *driver.Driver, r *driver.Request, do do) driver.Answer {
	return acceptingWhen(func(e *driver.Refusal) bool { return e.Kind == "stale" })(d, r, do)
}

// verdictRemembered asks once about each token.
func verdictRemembered() driver.Bent {
	var mu sync.Mutex
	good := map[string]driver.Answer{}
	return driver.Bent{Do: func(_ *driver.Driver, r *driver.Request, do do) driver.Answer {
		if r.Op != "verify" {
			return do(r)
		}
		mu.Lock()
		answer, known := good[r.Token]
		mu.Unlock()
		if known {
			return answer
		}
		if answer = do(r); answer.Err == nil {
			mu.Lock()
			good[r.Token] = answer
			mu.Unlock()
		}
		return answer
	}}
}

func positionForgotten(next http.RoundTripper) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.Header.Del("Last-Event-ID")
		return next.RoundTrip(r)
	}
}

// generationIgnored reads over what is said of accounts.
func generationIgnored(next http.RoundTripper) roundTrip {
	return misread(next, `"kind":"service_account"`, `"kind":"service_accnunt"`)
}

// resetOverheard reads over a reset.
func resetOverheard(next http.RoundTripper) roundTrip {
	return misread(next, "event: reset", "event: tesse")
}

// misread reads one text for another of the same length in the feed.
func misread(next http.RoundTripper, one, other string) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil && strings.HasSuffix(r.URL.Path, "/v1/revocations/feed") {
			response.Body = &misreading{response.Body, []byte(one), []byte(other)}
		}
		return response, err
	}
}

type misreading struct {
	io.ReadCloser
	one, other []byte
}

// Read reads whole events, as those come that are sent.
func (m *misreading) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	copy(p, bytes.ReplaceAll(p[:n], m.one, m.other))
	return n, err
}
