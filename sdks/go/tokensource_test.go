package marque

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// endpoint is a token endpoint that can be held up and can fail.
type endpoint struct {
	wire
	life    int           // seconds
	gate    chan struct{} // nil, or what each request waits for
	failing atomic.Int32  // a status to answer with; 0 for a token
}

func newEndpoint(life int) *endpoint {
	e := &endpoint{life: life}
	e.answer = func(n int, _ sent, r *http.Request) (*http.Response, error) {
		if e.gate != nil {
			select {
			case <-e.gate:
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
		if status := e.failing.Load(); status != 0 {
			return respond(int(status), `{"error":"temporarily_unavailable"}`), nil
		}
		return tokenAnswer(fmt.Sprintf("tok-%d", n), e.life), nil
	}
	return e
}

func (e *endpoint) requests() int { return len(e.to("/oauth2/token")) }

func text(t *testing.T, s *TokenSource) string {
	t.Helper()
	token, err := s.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken.Reveal()
}

func TestATokenIsServedFromMemoryUntilItsWindowsBegin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		life                int
		advisory, mandatory time.Duration // before the end
	}{
		{900, 120 * time.Second, 30 * time.Second},
		{60, 30 * time.Second, 15 * time.Second}, // half and a quarter of a short life
		{86400, 120 * time.Second, 30 * time.Second},
	} {
		t.Run(fmt.Sprint(test.life), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(test.life)
				client, clock := newTestClient(t, e)
				source := client.TokenSource("https://api")
				life := time.Duration(test.life) * time.Second
				text(t, source)
				clock.advance(life - test.advisory - time.Second)
				if got := text(t, source); got != "tok-1" || e.requests() != 1 {
					t.Fatalf("%s after %d requests, before the advisory window", got, e.requests())
				}
				clock.advance(time.Second)
				if got := text(t, source); got != "tok-1" {
					t.Errorf("%s in the advisory window, want what is cached", got)
				}
				synctest.Wait()
				if got := text(t, source); got != "tok-2" || e.requests() != 2 {
					t.Errorf("%s after %d requests, after the renewal", got, e.requests())
				}
				clock.advance(life - test.mandatory)
				if got := text(t, source); got != "tok-3" {
					t.Errorf("%s in the mandatory window, want a new one", got)
				}
			})
		})
	}
}

func TestAFailedRenewalServesTheCachedTokenAndPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(100)
		client, clock := newTestClient(t, e, func(c *Config) {
			c.RefreshWindows = &RefreshWindows{Advisory: 600 * time.Second, Mandatory: 30 * time.Second}
		})
		source := client.TokenSource("")
		text(t, source)
		e.failing.Store(503)
		for range 8 {
			if got := text(t, source); got != "tok-1" {
				t.Fatal(got)
			}
			synctest.Wait()
		}
		if e.requests() != 2 {
			t.Errorf("%d requests, want one renewal without repetition", e.requests())
		}
		clock.advance(refreshPause - time.Nanosecond)
		text(t, source)
		synctest.Wait()
		if e.requests() != 2 {
			t.Error("tried again before the pause was over")
		}
		clock.advance(time.Nanosecond)
		text(t, source)
		synctest.Wait()
		if e.requests() != 3 {
			t.Error("not tried again after the pause")
		}
		// In the mandatory window callers wait, the failure is repeated and then theirs.
		clock.advance(80 * time.Second)
		_, err := source.Token(t.Context())
		if failure(t, err, KindAuthentication).Status != 503 || e.requests() != 6 {
			t.Errorf("%v after %d requests", err, e.requests())
		}
	})
}

func TestAThousandCallersMakeOneRequest(t *testing.T) {
	t.Parallel()
	for _, cancelled := range []bool{false, true} {
		t.Run(fmt.Sprintf("first cancelled %v", cancelled), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEndpoint(900)
				e.gate = make(chan struct{})
				client, _ := newTestClient(t, e)
				source := client.TokenSource("https://api")
				first, cancel := context.WithCancel(t.Context())
				defer cancel()
				var firstErr error
				var all sync.WaitGroup
				all.Go(func() { _, firstErr = source.Token(first) })
				synctest.Wait() // the first caller's request is in flight
				var wrong atomic.Int32
				for range 999 {
					all.Go(func() {
						if token, err := source.Token(t.Context()); err != nil || token.AccessToken != "tok-1" {
							wrong.Add(1)
						}
					})
				}
				synctest.Wait()
				if cancelled {
					cancel()
					synctest.Wait()
				}
				close(e.gate)
				all.Wait()
				if e.requests() != 1 || wrong.Load() != 0 {
					t.Errorf("%d requests, %d callers without the token", e.requests(), wrong.Load())
				}
				if got := errors.Is(firstErr, context.Canceled); got != cancelled {
					t.Errorf("the first caller got %v", firstErr)
				}
			})
		})
	}
}

func TestEachWaiterKeepsItsOwnDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoint(900)
		e.gate = make(chan struct{})
		client, _ := newTestClient(t, e, func(c *Config) { c.Clock = nil })
		source := client.TokenSource("")
		began := time.Now()
		var all sync.WaitGroup
		for i := range 3 {
			limit := time.Duration(i+1) * time.Second
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				_, err := source.Token(ctx)
				if failure(t, err, KindTimeout); time.Since(began) != limit {
					t.Errorf("a waiter with %v got %v after %v", limit, err, time.Since(began))
				}
			})
		}
		all.Wait()
		// Nobody waits any more: the request ends by its own timeout, once.
		time.Sleep(time.Minute)
		synctest.Wait()
		if e.requests() != 1 {
			t.Errorf("%d requests, want no repetition without a waiter", e.requests())
		}
	})
}

func TestAPassingFailureIsRepeatedWhileACallerWaits(t *testing.T) {
	t.Parallel()
	w := &wire{answer: func(n int, _ sent, _ *http.Request) (*http.Response, error) {
		if n < 3 {
			return respond(429, `{"error":"rate_limited"}`, "Retry-After", "2"), nil
		}
		return tokenAnswer("tok", 900), nil
	}}
	client, clock := newTestClient(t, w)
	if got := text(t, client.TokenSource("")); got != "tok" || len(clock.sleeps()) != 2 || clock.sleeps()[0] != 2*time.Second {
		t.Errorf("%s after sleeping %v", got, clock.sleeps())
	}
}

func TestARefusedClientIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	for code, status := range map[ErrorCode]int{ErrorCodeInvalidClient: 401, "invalid_grant": 400, ErrorCodeUnauthorizedClient: 400, ErrorCodeInvalidScope: 400} {
		w := &wire{answer: func(int, sent, *http.Request) (*http.Response, error) {
			return respond(status, fmt.Sprintf(`{"error":%q,"error_description":"no"}`, code)), nil
		}}
		client, _ := newTestClient(t, w)
		_, err := client.Whoami.Get(t.Context())
		if e := failure(t, err, KindAuthentication); e.Code != code || e.Retryable || len(w.sent) != 1 || e.Operation != "tokens.issue" {
			t.Errorf("%s: %+v after %d requests", code, e, len(w.sent))
		}
	}
}

func TestTokensOfNoUseAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		kind Kind
	}{
		"expired":            {`{"access_token":"secret-t","token_type":"Bearer","expires_in":0}`, KindAuthentication},
		"long expired":       {`{"access_token":"secret-t","token_type":"Bearer","expires_in":-5}`, KindAuthentication},
		"no end":             {`{"access_token":"secret-t","token_type":"Bearer"}`, KindAuthentication},
		"endless":            {`{"access_token":"secret-t","token_type":"Bearer","expires_in":9000000000000000000}`, KindAuthentication},
		"another type":       {`{"access_token":"secret-t","token_type":"mac","expires_in":900}`, KindAuthentication},
		"no type":            {`{"access_token":"secret-t","expires_in":900}`, KindAuthentication},
		"no token":           {`{"token_type":"Bearer","expires_in":900}`, KindAuthentication},
		"a header in it":     {`{"access_token":"secret-t\r\nX: y","token_type":"Bearer","expires_in":900}`, KindAuthentication},
		"more than 1 MiB":    {`{"access_token":"secret-t` + strings.Repeat("a", 1<<20) + `"}`, KindProtocol},
		"not JSON":           {`secret-t`, KindProtocol},
		"expires_in of text": {`{"access_token":"secret-t","token_type":"Bearer","expires_in":"x"}`, KindProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &wire{answer: func(int, sent, *http.Request) (*http.Response, error) { return respond(200, test.body), nil }}
			client, _ := newTestClient(t, w)
			_, err := client.TokenSource("").Token(t.Context())
			e := failure(t, err, test.kind)
			if strings.Contains(fmt.Sprintf("%+v %#v %s", e, e, e), "secret-t") || len(w.sent) != 1 {
				t.Errorf("%#v after %d requests", e, len(w.sent))
			}
		})
	}
}

func TestTheTypeOfATokenIsComparedIgnoringCase(t *testing.T) {
	t.Parallel()
	w := &wire{answer: func(int, sent, *http.Request) (*http.Response, error) {
		return respond(200, `{"access_token":"t","token_type":"bearer","expires_in":900}`), nil
	}}
	client, _ := newTestClient(t, w)
	text(t, client.TokenSource(""))
}

func TestA401DropsExactlyThatTokenAndReplaysOnce(t *testing.T) {
	t.Parallel()
	w := serving(func(_ int, s sent) *http.Response {
		if s.header.Get("Authorization") == "Bearer tok-1" {
			return respond(401, `{"code":"invalid_token"}`)
		}
		return respond(201, accountJSON)
	})
	client, _ := newTestClient(t, w)
	// A creation too: what was refused with 401 has not been done.
	if _, err := client.ServiceAccounts.Create(t.Context(), ServiceAccountCreate{Name: "n", Owner: "o"}); err != nil {
		t.Fatal(err)
	}
	calls := w.to("/v1/service-accounts")
	if len(calls) != 2 || calls[0].body != calls[1].body || calls[1].header.Get("Authorization") != "Bearer tok-2" {
		t.Errorf("calls %+v", calls)
	}
	// A late refusal of the token that is gone does not drop the one in its place.
	client.management.Drop(Token{AccessToken: "tok-1"})
	if got := text(t, client.management); got != "tok-2" {
		t.Errorf("the token is %s", got)
	}
	client.management.Drop(Token{AccessToken: "tok-2"})
	if got := text(t, client.management); got != "tok-3" {
		t.Errorf("the token is %s", got)
	}
}

func TestA401ThatStaysIsTold(t *testing.T) {
	t.Parallel()
	w := serving(func(int, sent) *http.Response { return respond(401, `{"code":"invalid_token"}`) })
	client, _ := newTestClient(t, w)
	_, err := client.Whoami.Get(t.Context())
	if e := failure(t, err, KindAPI); e.Status != 401 || len(w.to("/v1/whoami")) != 2 || len(w.to("/oauth2/token")) != 2 {
		t.Errorf("%v after %d requests", e, len(w.sent))
	}
}

func TestSourcesAreSharedByResourceAndScopes(t *testing.T) {
	t.Parallel()
	e := newEndpoint(900)
	client, _ := newTestClient(t, e)
	a := client.TokenSource("https://api", "x", "y", "x")
	if a != client.TokenSource("https://api", "y", "x") || a == client.TokenSource("https://api", "x") || a == client.TokenSource("https://other", "x", "y") {
		t.Error("sources are not told apart by resource and set of scopes")
	}
	text(t, a)
	if got := e.sent[0].body; got != "grant_type=client_credentials&resource=https%3A%2F%2Fapi&scope=x+y" {
		t.Errorf("asked with %s", got)
	}
}

func TestATokenAndAClientPrintNoSecret(t *testing.T) {
	t.Parallel()
	e := newEndpoint(900)
	client, _ := newTestClient(t, e)
	source := client.TokenSource("")
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger(&log).Info("", "token", token, "client", client, "source", source, "credential", client.credential, "secret", token.AccessToken)
	printed := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed += fmt.Sprintf(verb+verb+verb+verb, token, client, source, client.credential)
	}
	for _, secret := range []string{testSecret, "tok-1", fmt.Sprintf("%x", testSecret), fmt.Sprintf("%x", "tok-1")} {
		if strings.Contains(printed, secret) {
			t.Errorf("%q in %s", secret, printed)
		}
	}
}
