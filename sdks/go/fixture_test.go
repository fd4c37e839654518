package marque

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	testIssuer = "https://auth.example.com"
	testID     = "sa_01jzt3v0q8n4m6x2c9k7b5h1d0"
	testSecret = "mqs_this-is-the-secret-that-nobody-may-see"
)

// fakeClock stands still but for advance. A sleep on it returns at once.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func newFakeClock() *fakeClock { return &fakeClock{now: time.Unix(1_793_612_700, 0)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.slept = append(c.slept, d)
	return ctx.Err()
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *fakeClock) sleeps() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Duration(nil), c.slept...)
}

// sent is a request as it went over the wire.
type sent struct {
	method, url string
	header      http.Header
	body        string
}

// wire is a transport that answers by itself and remembers what was sent.
type wire struct {
	mu     sync.Mutex
	sent   []sent
	answer func(n int, s sent, r *http.Request) (*http.Response, error) // n counts the requests to the same path from 1
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	s := sent{method: r.Method, url: r.URL.String(), header: r.Header.Clone()}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		s.body = string(body)
		_ = r.Body.Close()
	}
	w.mu.Lock()
	w.sent = append(w.sent, s)
	n := 0
	for _, other := range w.sent {
		if path(other.url) == path(s.url) {
			n++
		}
	}
	w.mu.Unlock()
	response, err := w.answer(n, s, r)
	if response != nil && response.Request == nil {
		response.Request = r
	}
	return response, err
}

func path(url string) string { p, _, _ := strings.Cut(url, "?"); return p }

// to are the requests that went to a path.
func (w *wire) to(suffix string) (list []sent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sent {
		if strings.HasSuffix(path(s.url), suffix) {
			list = append(list, s)
		}
	}
	return list
}

// respond makes a response; fields are pairs of a header's name and value.
func respond(status int, body string, fields ...string) *http.Response {
	header := http.Header{"Content-Type": {"application/json"}, "X-Request-Id": {"req_1"}}
	for i := 0; i < len(fields); i += 2 {
		header.Set(fields[i], fields[i+1])
	}
	return &http.Response{
		StatusCode: status, Header: header, ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func tokenAnswer(token string, seconds int) *http.Response {
	b, _ := json.Marshal(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": seconds, "scope": "a b"})
	return respond(200, string(b))
}

// serving answers the token endpoint with tok-1, tok-2, … that live for 900 s,
// and all else with answer.
func serving(answer func(n int, s sent) *http.Response) *wire {
	return &wire{answer: func(n int, s sent, _ *http.Request) (*http.Response, error) {
		if strings.HasSuffix(s.url, "/oauth2/token") {
			return tokenAnswer("tok-"+string(rune('0'+n)), 900), nil
		}
		return answer(n, s), nil
	}}
}

func none(string) string { return "" }

// newTestClient is a client on a transport and a clock, changed by change.
func newTestClient(t testing.TB, w http.RoundTripper, change ...func(*Config)) (*Client, *fakeClock) {
	t.Helper()
	clock := newFakeClock()
	config := Config{
		Issuer: testIssuer, Credential: SecretCredential(testID, testSecret),
		HTTPClient: &http.Client{Transport: w}, Clock: clock,
	}
	for _, f := range change {
		f(&config)
	}
	client, err := newClient(config, none)
	if err != nil {
		t.Fatal(err)
	}
	return client, clock
}

// failure is err as an *Error of the kind.
func failure(t testing.TB, err error, kind Kind) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind != kind {
		t.Fatalf("error %v, want one of the kind %s", err, kind)
	}
	return e
}

// logger writes to the buffer at every level.
func logger(b *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

const accountJSON = `{"id":"sa_1","name":"n","display_name":"","description":"","kind":"robot","owner":"o","labels":{},
	"status":"active","created_at":"2026-11-02T09:30:00Z","updated_at":"2026-11-02T09:30:00Z","new_member":1}`
