// Package wire is what went over the line between an SDK and a server, as the
// proxy and the mock endpoints record it.
package wire

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Exchange is one request and, unless it was left without one, its response.
type Exchange struct {
	Number    int
	Operation string // operationId, empty where the contract has none
	Method    string
	Path      string
	Query     string
	Header    http.Header
	Body      []byte

	Status         int // 0: no response, see Note
	ResponseHeader http.Header
	ResponseBody   []byte
	Stream         bool   // the response is a stream of events
	Note           string // how it ended without a response
	Violations     []string
	BadRequest     string // why the contract does not allow the request; empty when it does
}

// Route is the method and the path, such as "POST /oauth2/token".
func (e *Exchange) Route() string { return e.Method + " " + e.Path }

// Log is the record of one case. The zero value is empty and ready.
type Log struct {
	mu        sync.Mutex
	exchanges []*Exchange
	changed   chan struct{}
}

// Begin records a request when it has arrived whole.
func (l *Log) Begin(e *Exchange) *Exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.exchanges = append(l.exchanges, e)
	e.Number = len(l.exchanges)
	l.announce()
	return e
}

// End records how it was answered.
func (l *Log) End(e *Exchange, fill func(*Exchange)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fill(e)
	l.announce()
}

func (l *Log) announce() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Exchanges are those so far, copied.
func (l *Log) Exchanges() []Exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Exchange, len(l.exchanges))
	for i, e := range l.exchanges {
		all[i] = *e
	}
	return all
}

// Count is how many requests there were on a route.
func (l *Log) Count(route string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.exchanges {
		if e.Route() == route {
			n++
		}
	}
	return n
}

// Await waits until there were n requests on a route.
func (l *Log) Await(ctx context.Context, route string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		l.mu.Lock()
		if l.changed == nil {
			l.changed = make(chan struct{})
		}
		changed := l.changed
		l.mu.Unlock()
		if l.Count(route) >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s: %d requests within 5 s instead of %d", route, l.Count(route), n)
		}
	}
}

// Trace is the record for a human, secrets masked.
func (l *Log) Trace(mask func(string) string) string {
	var b strings.Builder
	all := l.Exchanges()
	for i, e := range all {
		const shown = 25 // of each end
		if i >= shown && i < len(all)-shown {
			if i == shown {
				fmt.Fprintf(&b, "… %d exchanges …\n", len(all)-2*shown)
			}
			continue
		}
		target := e.Path
		if e.Query != "" {
			target += "?" + e.Query
		}
		fmt.Fprintf(&b, "#%d > %s %s  %s\n", e.Number, e.Method, target, e.Operation)
		header(&b, ">", e.Header, "Authorization", "Content-Type", "If-Match", "Idempotency-Key")
		text(&b, ">", e.Body)
		if e.Note != "" {
			fmt.Fprintf(&b, "#%d < (%s)\n", e.Number, e.Note)
		}
		if e.Status != 0 {
			fmt.Fprintf(&b, "#%d < %d %s\n", e.Number, e.Status, http.StatusText(e.Status))
			header(&b, "<", e.ResponseHeader, "Content-Type", "Retry-After", "X-Request-Id", "ETag", "Location", "WWW-Authenticate", "Cache-Control")
			text(&b, "<", e.ResponseBody)
		}
		for _, violation := range e.Violations {
			fmt.Fprintf(&b, "     ! %s\n", violation)
		}
	}
	return mask(b.String())
}

func header(b *strings.Builder, mark string, h http.Header, names ...string) {
	for i, name := range names {
		names[i] = http.CanonicalHeaderKey(name)
	}
	var keys []string
	for name := range h {
		if slices.Contains(names, name) {
			keys = append(keys, name)
		}
	}
	sort.Strings(keys)
	for _, name := range keys {
		fmt.Fprintf(b, "     %s %s: %s\n", mark, name, strings.Join(h[name], ", "))
	}
}

func text(b *strings.Builder, mark string, body []byte) {
	if len(body) == 0 {
		return
	}
	const most = 1000
	shown, more := body, ""
	if len(body) > most {
		shown, more = body[:most], fmt.Sprintf("… (%d bytes)", len(body))
	}
	fmt.Fprintf(b, "     %s %s%s\n", mark, strings.TrimSpace(string(shown)), more)
}
