package marque

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// feedServer is a Marque with a token endpoint, keys, a snapshot and a feed. It
// runs inside of a bubble of synctest, whose clock stands still while anybody has
// something to do.
type feedServer struct {
	mu        sync.Mutex
	key       *signer
	snapshot  func() *http.Response
	refuse    func(n int) *http.Response // instead of the n-th stream, where it is not nil
	opened    chan *feedConn
	tokens    int
	ttl       int
	snapshots int
	feeds     int
}

// feedConn is one stream, which the test writes to.
type feedConn struct {
	header http.Header
	query  string
	out    *io.PipeWriter
}

func newFeedServer(t *testing.T) *feedServer {
	s := &feedServer{key: newES256(t, "key_1"), opened: make(chan *feedConn, 16), ttl: 900}
	s.snapshot = s.empty("10")
	return s
}

func (s *feedServer) empty(position string) func() *http.Response {
	return func() *http.Response { return respond(200, snapshotJSON(position, "", "", "", "")) }
}

func snapshotJSON(position, accounts, credentials, keys, tokens string) string {
	return fmt.Sprintf(`{"position":%q,"at":"2026-11-02T09:30:00Z","service_accounts":[%s],"credentials":[%s],"signing_keys":[%s],"tokens":[%s]}`,
		position, accounts, credentials, keys, tokens)
}

func (s *feedServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch path := r.URL.Path; {
	case path == "/oauth2/token":
		s.tokens++
		return tokenAnswer(fmt.Sprintf("tok-%d", s.tokens), s.ttl), nil
	case path == "/.well-known/jwks.json":
		i := newIssuer(s.key)
		return i.answer(1, sent{}, r)
	case path == "/v1/revocations/snapshot":
		s.snapshots++
		return s.snapshot(), nil
	case path == "/v1/revocations/feed":
		s.feeds++
		if s.refuse != nil {
			if response := s.refuse(s.feeds); response != nil {
				return response, nil
			}
		}
		in, out := io.Pipe()
		c := &feedConn{r.Header.Clone(), r.URL.RawQuery, out}
		context.AfterFunc(r.Context(), func() { _ = out.CloseWithError(r.Context().Err()) })
		s.opened <- c
		response := respond(200, "", "Content-Type", "text/event-stream")
		response.Body, response.ContentLength = in, -1
		return response, nil
	}
	return nil, errors.New("no such path")
}

// set changes what the server does.
func (s *feedServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (c *feedConn) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c.out, text); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

func (c *feedConn) hello(t *testing.T, position string) {
	t.Helper()
	c.say(t, fmt.Sprintf("retry: 700\nid: %s\nevent: hello\ndata: {\"position\":%q,\"heartbeat\":5,\"retry\":700}\n\n", position, position))
}

func (c *feedConn) beat(t *testing.T, position string) {
	t.Helper()
	c.say(t, fmt.Sprintf("id: %s\nevent: heartbeat\ndata: {\"position\":%q}\n\n", position, position))
}

func (c *feedConn) revoke(t *testing.T, position, kind, id, more string) {
	t.Helper()
	c.say(t, fmt.Sprintf("id: %s\nevent: revoked\ndata: {\"kind\":%q,\"id\":%q%s,\"revoked_at\":\"2000-01-01T00:00:00Z\",\"expires_at\":%q}\n\n",
		position, kind, id, more, time.Now().Add(15*time.Minute).UTC().Format(time.RFC3339)))
}

// following is a verifier with a follower, inside of a bubble.
type following struct {
	*testing.T
	*feedServer
	follower *Follower
	verifier *Verifier
	log      bytes.Buffer
}

func followed(t *testing.T, config FollowConfig, test func(f *following)) {
	prepared(t, func(f *following) {
		f.begin(config)
		test(f)
	})
}

// prepared is for tests whose server must answer in its way from the first
// question on: they begin by themselves.
func prepared(t *testing.T, test func(f *following)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &following{T: t, feedServer: newFeedServer(t)}
		test(f)
		f.follower.Close()
	})
}

func (f *following) begin(config FollowConfig) {
	var log lockedBuffer
	log.to = &f.log
	http := &http.Client{Transport: f.feedServer}
	client, err := newClient(Config{Issuer: testIssuer, Credential: SecretCredential(testID, testSecret), HTTPClient: http, Logger: slog.New(slog.NewJSONHandler(&log, nil))}, none)
	if err != nil {
		f.Fatal(err)
	}
	f.follower = client.FollowRevocations(config)
	f.verifier, err = newVerifier(VerifierConfig{Issuer: testIssuer, HTTPClient: http, Revocations: f.follower}, none)
	if err != nil {
		f.Fatal(err)
	}
}

// stream is the next stream that the follower opens, which it does without
// waiting or within the time that it may.
func (f *following) stream() *feedConn {
	f.Helper()
	select {
	case c := <-f.opened:
		return c
	case <-time.After(9 * time.Second):
		f.Fatalf("no stream was opened; %+v", f.follower.State())
		return nil
	}
}

// token is a good one, changed.
func (f *following) token(change map[string]any) string {
	i := newIssuer(f.key)
	i.clock.now = time.Now()
	return i.token(f.key, change)
}

func (f *following) verdict(token string) Reason {
	_, err := f.verifier.Verify(f.Context(), token, testAudience)
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*TokenError](err)
	if !ok {
		f.Fatal(err)
	}
	return e.Reason
}

func (f *following) want(what, token string, reason Reason) {
	f.Helper()
	for _, from := range []string{"signature", "cache"} {
		if got := f.verdict(token); got != reason {
			f.Errorf("%s, from the %s: %q, want %q", what, from, got, reason)
		}
	}
}

func TestASnapshotIsFollowedByDeltas(t *testing.T) {
	prepared(t, func(f *following) {
		f.set(func() {
			end := `"expires_at":"2030-01-01T00:00:00Z"`
			f.snapshot = func() *http.Response {
				return respond(200, snapshotJSON("10", `{"id":"sa_old","gen":4,`+end+`}`, `{"id":"sec_old",`+end+`}`, "", `{"ids":["tok_a","tok_b"],`+end+`}`))
			}
		})
		f.begin(FollowConfig{Audience: testAudience})
		if err := f.follower.Ready(f.Context()); err != nil {
			f.Fatal(err)
		}
		c := f.stream()
		if c.header.Get("Last-Event-Id") != "10" || c.header.Get("Authorization") != "Bearer tok-1" || !strings.Contains(c.header.Get("Accept"), "text/event-stream") ||
			c.query != "audience=https%3A%2F%2Finvoices.example.com" {
			f.Errorf("asked with %v, %s", c.header, c.query)
		}
		good := f.token(nil)
		f.want("what nobody has stopped", good, "")
		f.want("a token of the snapshot", f.token(map[string]any{"jti": "tok_b"}), ReasonRevoked)
		f.want("an account of the snapshot", f.token(map[string]any{"client_id": "sa_old", "gen": 3}), ReasonRevoked)
		f.want("a credential of the snapshot", f.token(map[string]any{"cred": "sec_old"}), ReasonRevoked)

		c.hello(t, "10")
		c.revoke(t, "11", "token", "tok_x", "")
		f.want("a token", f.token(map[string]any{"jti": "tok_x"}), ReasonRevoked)
		c.revoke(t, "12", "service_account", testID, `,"gen":3`)
		f.want("an equal generation", good, "")
		f.want("a lower generation", f.token(map[string]any{"gen": 2}), ReasonRevoked)
		f.want("no generation", f.token(map[string]any{"gen": nil}), ReasonRevoked)
		c.revoke(t, "13", "service_account", testID, `,"gen":2`)
		f.want("a generation that was stopped before", f.token(map[string]any{"gen": 2}), ReasonRevoked)
		c.revoke(t, "14", "credential", "sec_2", "")
		f.want("a credential", f.token(map[string]any{"cred": "sec_2"}), ReasonRevoked)
		f.want("another credential", good, "")
		c.revoke(t, "15", "signing_key", "key_1", "")
		f.want("a signing key", good, ReasonRevoked)
		if s := f.follower.State(); s.Position != "15" || s.Stale || s.Err != nil || s.Revoked != 8 {
			f.Errorf("state %+v", s)
		}
	})
}

func TestACutStreamIsResumedWhereItWas(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		c := f.stream()
		c.hello(t, "10")
		c.beat(t, "12")
		c.revoke(t, "13", "token", "tok_x", "")
		_ = c.out.CloseWithError(errors.New("reset by peer"))
		c = f.stream()
		if got := c.header.Get("Last-Event-Id"); got != "13" {
			f.Errorf("it went on from %s", got)
		}
		// In good order: it comes back when it was told to.
		began := time.Now()
		c.hello(t, "13")
		c.beat(t, "13")
		_ = c.out.Close()
		c = f.stream()
		if waited := time.Since(began); waited != 700*time.Millisecond {
			f.Errorf("it came back after %v", waited)
		}
		c.hello(t, "13")
		if f.snapshots != 1 {
			f.Errorf("%d snapshots", f.snapshots)
		}
		f.want("what was stopped before", f.token(map[string]any{"jti": "tok_x"}), ReasonRevoked)
	})
}

func TestAResetIsAnsweredWithASnapshot(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		c := f.stream()
		c.hello(t, "10")
		c.revoke(t, "11", "token", "tok_x", "")
		f.set(func() { f.snapshot = f.empty("9") })
		began := time.Now()
		c.say(t, "event: reset\ndata: {\"position\":\"9\"}\n\n")
		c = f.stream()
		if c.header.Get("Last-Event-Id") != "9" || f.snapshots != 2 || time.Since(began) != 0 {
			f.Errorf("from %s, %d snapshots, after %v", c.header.Get("Last-Event-Id"), f.snapshots, time.Since(began))
		}
		f.want("what another node knew already", f.token(map[string]any{"jti": "tok_x"}), ReasonRevoked)
		// The announcement of a reset has no position. A second one in a row waits.
		c.say(t, "event: hello\ndata: {\"position\":\"9\",\"heartbeat\":5,\"retry\":700}\n\nevent: reset\ndata: {\"position\":\"9\"}\n\n")
		f.stream()
		if f.snapshots != 3 {
			f.Errorf("%d snapshots", f.snapshots)
		}
		if !strings.Contains(f.log.String(), "marque revocations are read anew") {
			f.Errorf("logged %s", &f.log)
		}
	})
}

func TestWithoutAHeartbeatNothingIsKnown(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		token := f.token(nil)
		if err := f.follower.Ready(f.Context()); err != nil {
			f.Fatal(err)
		}
		f.stream()
		f.set(func() { f.refuse = func(int) *http.Response { return respond(503, "") } })
		time.Sleep(defaultStaleAfter - time.Millisecond)
		f.want("just before", token, "")
		time.Sleep(time.Millisecond)
		f.want("after 30 s", token, ReasonStale)
		_, err := f.verifier.Verify(f.Context(), token, testAudience)
		if e, ok := err.(*TokenError); !ok || e.Status() != 503 || e.Code() != ErrorCodeUnavailable || e.Challenge() != "" {
			f.Errorf("error %v", err)
		}
		request, _ := http.NewRequestWithContext(f.Context(), http.MethodGet, testAudience, nil)
		request.Header.Set("Authorization", "Bearer "+token)
		recorder := httptest.NewRecorder()
		f.verifier.Protect(testAudience)(http.NotFoundHandler()).ServeHTTP(recorder, request)
		if h := recorder.Header(); recorder.Code != 503 || h.Get("Retry-After") == "" || h.Get("WWW-Authenticate") != "" || !strings.Contains(recorder.Body.String(), `"code":"unavailable"`) {
			f.Errorf("the middleware answers %d, %v, %s", recorder.Code, h, recorder.Body)
		}
		_, err = f.verifier.Verify(f.Context(), token+"x", testAudience)
		refused(t, "a bad token stays one", err, ReasonMalformed)
		if s := f.follower.State(); !s.Stale || s.Err == nil {
			f.Errorf("state %+v", s)
		}
		f.set(func() { f.refuse = nil })
		c := f.stream()
		c.hello(t, "10")
		c.revoke(t, "11", "token", "tok_x", "")
		f.want("before the heartbeat", token, ReasonStale)
		f.want("what is known to be stopped", f.token(map[string]any{"jti": "tok_x"}), ReasonRevoked)
		c.beat(t, "11")
		f.want("after the heartbeat", token, "")
		if s := f.follower.State(); s.Stale || s.Err != nil {
			f.Errorf("state %+v", s)
		}
	})
}

func TestASilentStreamIsGivenUpBeforeItIsTooLate(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		c := f.stream()
		c.hello(t, "10")
		for range 3 {
			time.Sleep(10 * time.Second)
			c.beat(t, "10")
		}
		began := time.Now()
		time.Sleep(10 * time.Second)
		c.say(t, ": no heartbeat\n\n") // alive, but cut off from the others
		c = f.stream()
		if waited := time.Since(began); waited < 15*time.Second || waited > 16*time.Second {
			f.Errorf("it was given up after %v", waited)
		}
		c.hello(t, "10")
		c.beat(t, "10")
		f.want("with the heartbeat of another node", f.token(nil), "")
		if !strings.Contains(f.log.String(), errSilent.Error()) {
			f.Errorf("logged %s", &f.log)
		}
	})
}

func TestWhatHasWaitedInAConnectionSaysNothing(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		c := f.stream()
		c.hello(t, "10")
		c.beat(t, "10")
		f.follower.hear(time.Now().Add(-time.Hour)) // as if the machine had slept
		f.set(func() { f.refuse = nil })
		f.want("after the sleep", f.token(nil), ReasonStale)
		s := &stream{Follower: f.follower, welcomed: true, sent: "10", at: time.Now().Add(-time.Hour)}
		if err := s.take(f.Context(), event{id: "11", name: "heartbeat", data: `{"position":"11"}`}); err != errSilent || s.anew {
			f.Errorf("%v, read anew: %v", err, s.anew)
		}
		f.want("after the heartbeat of before", f.token(nil), ReasonStale)
		c.beat(t, "11")
		f.want("after one of now", f.token(nil), "")
	})
}

func TestAFollowerMayFailOpen(t *testing.T) {
	followed(t, FollowConfig{FailOpen: true, StaleAfter: 10 * time.Second}, func(f *following) {
		c := f.stream()
		c.hello(t, "10")
		c.revoke(t, "11", "token", "tok_x", "")
		f.set(func() { f.refuse = func(int) *http.Response { return respond(503, "") } })
		time.Sleep(time.Minute)
		f.want("what may have been stopped", f.token(nil), "")
		f.want("what was", f.token(map[string]any{"jti": "tok_x"}), ReasonRevoked)
		if !f.follower.State().Stale {
			f.Error("it does not say so")
		}
	})
}

func TestBeforeTheFirstSnapshotNothingIsKnown(t *testing.T) {
	for open, reason := range map[bool]Reason{false: ReasonStale, true: ""} {
		t.Run(fmt.Sprint(open), func(t *testing.T) {
			prepared(t, func(f *following) {
				f.set(func() {
					f.snapshot = func() *http.Response { return respond(503, `{"code":"unavailable"}`, "Retry-After", "20") }
				})
				f.begin(FollowConfig{FailOpen: open})
				synctest.Wait()
				f.want("nothing is known", f.token(nil), reason)
				ctx, cancel := context.WithTimeout(f.Context(), time.Second)
				defer cancel()
				if err := f.follower.Ready(ctx); err == nil || !strings.Contains(err.Error(), "503 unavailable") {
					f.Errorf("ready: %v", err)
				}
				f.set(func() { f.snapshot = f.empty("10") })
				began := time.Now()
				if err := f.follower.Ready(f.Context()); err != nil || time.Since(began) < 18*time.Second {
					f.Errorf("ready: %v, after %v", err, time.Since(began))
				}
				f.want("it is", f.token(nil), "")
			})
		})
	}
}

func TestWhatCannotBeUnderstoodIsReadAnew(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":                "id: 11\nevent: revoked\ndata: {\n\n",
		"no id of what":          "id: 11\nevent: revoked\ndata: {\"kind\":\"token\",\"revoked_at\":\"2000-01-01T00:00:00Z\",\"expires_at\":\"2030-01-01T00:00:00Z\"}\n\n",
		"no generation":          "id: 11\nevent: revoked\ndata: {\"kind\":\"service_account\",\"id\":\"sa_1\",\"revoked_at\":\"2000-01-01T00:00:00Z\",\"expires_at\":\"2030-01-01T00:00:00Z\"}\n\n",
		"no end":                 "id: 11\nevent: revoked\ndata: {\"kind\":\"token\",\"id\":\"tok_x\"}\n\n",
		"no position":            "event: revoked\ndata: {\"kind\":\"token\",\"id\":\"tok_x\",\"revoked_at\":\"2000-01-01T00:00:00Z\",\"expires_at\":\"2030-01-01T00:00:00Z\"}\n\n",
		"a position of letters":  "id: 1x\nevent: heartbeat\ndata: {\"position\":\"1x\"}\n\n",
		"two positions":          "id: 11\nevent: heartbeat\ndata: {\"position\":\"12\"}\n\n",
		"a position behind":      "id: 9\nevent: heartbeat\ndata: {\"position\":\"9\"}\n\n",
		"an event without end":   "id: 11\nevent: revoked\ndata: " + strings.Repeat("x", maxEvent+1),
		"another beginning":      "id: 12\nevent: hello\ndata: {\"position\":\"12\",\"heartbeat\":5,\"retry\":700}\n\n",
		"a hello without a beat": "id: 10\nevent: hello\ndata: {\"position\":\"10\",\"retry\":700}\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			followed(t, FollowConfig{}, func(f *following) {
				c := f.stream()
				c.hello(t, "10")
				f.set(func() { f.snapshot = f.empty("20") })
				go func() { _, _ = io.WriteString(c.out, text) }()
				c = f.stream()
				if got := c.header.Get("Last-Event-Id"); got != "20" || f.snapshots != 2 {
					f.Errorf("from %s, %d snapshots", got, f.snapshots)
				}
				if !strings.Contains(f.log.String(), `"level":"WARN","msg":"marque revocations are not followed"`) {
					f.Errorf("logged %s", &f.log)
				}
			})
		})
	}
}

func TestNothingCountsBeforeTheStreamHasBegun(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		c := f.stream()
		go func() { _, _ = io.WriteString(c.out, "id: 10\nevent: heartbeat\ndata: {\"position\":\"10\"}\n\n") }()
		f.stream()
		if f.snapshots != 2 {
			f.Errorf("%d snapshots", f.snapshots)
		}
	})
}

func TestASnapshotThatIsNotWholeIsNone(t *testing.T) {
	for name, body := range map[string]string{
		"a list too few":  `{"position":"1","service_accounts":[],"credentials":[],"signing_keys":[]}`,
		"no position":     snapshotJSON("", "", "", "", ""),
		"an id too few":   snapshotJSON("1", `{"gen":1,"expires_at":"2030-01-01T00:00:00Z"}`, "", "", ""),
		"an end too few":  snapshotJSON("1", "", `{"id":"sec_1"}`, "", ""),
		"cut off":         snapshotJSON("1", "", "", "", "")[:40],
		"of another sort": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			prepared(t, func(f *following) {
				f.set(func() { f.snapshot = func() *http.Response { return respond(200, body) } })
				f.begin(FollowConfig{})
				time.Sleep(time.Minute)
				f.want("nothing is known", f.token(nil), ReasonStale)
				if f.feeds != 0 || f.follower.State().Err == nil {
					f.Errorf("%d streams, %+v", f.feeds, f.follower.State())
				}
			})
		})
	}
}

func TestWhatIsOfALaterReleaseIsPassedOver(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		c := f.stream()
		c.hello(t, "10")
		c.say(t, "event: weather\ndata: rain\n\n")
		c.revoke(t, "11", "planet", "earth", "")
		c.revoke(t, "12", "token", "tok_x", "")
		f.want("what comes after it", f.token(map[string]any{"jti": "tok_x"}), ReasonRevoked)
		if !strings.Contains(f.log.String(), `"level":"WARN","msg":"marque revocation is not understood"`) || f.follower.State().Position != "12" {
			f.Errorf("logged %s, %+v", &f.log, f.follower.State())
		}
	})
}

func TestEventsMayComeInPieces(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		c := f.stream()
		end := time.Now().Add(time.Minute).UTC().Format(time.RFC3339)
		text := "\ufeff: welcome\r\nid: 10\r\nevent: hello\r\ndata: {\"position\":\"10\",\r\ndata: \"heartbeat\":5,\"retry\":700}\r\n\r\n" +
			"id:11\revent:revoked\rdata:{\"kind\":\"token\",\"id\":\"tok_x\",\"revoked_at\":\"2000-01-01T00:00:00Z\",\"expires_at\":\"" + end + "\"}\r\r"
		for i := range len(text) {
			c.say(t, text[i:i+1])
			time.Sleep(10 * time.Millisecond)
		}
		f.want("what was told", f.token(map[string]any{"jti": "tok_x"}), ReasonRevoked)
	})
}

func TestAStreamOutlivesItsToken(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		c := f.stream()
		c.hello(t, "10")
		for range 180 { // 15 min
			time.Sleep(5 * time.Second)
			c.beat(t, "10")
		}
		began := time.Now()
		_ = c.out.Close()
		c = f.stream()
		if got := c.header.Get("Authorization"); got != "Bearer tok-2" || !time.Now().Equal(began) || c.header.Get("Last-Event-Id") != "10" {
			f.Errorf("came back with %s after %v", got, time.Since(began))
		}
	})
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	prepared(t, func(f *following) {
		f.set(func() {
			f.refuse = func(n int) *http.Response {
				if n == 1 {
					return respond(401, `{"code":"invalid_token"}`)
				}
				return nil
			}
		})
		f.begin(FollowConfig{})
		if c := f.stream(); c.header.Get("Authorization") != "Bearer tok-2" {
			f.Errorf("came with %v", c.header)
		}
	})
}

func TestALackingPermissionIsSaid(t *testing.T) {
	prepared(t, func(f *following) {
		f.set(func() {
			f.snapshot = func() *http.Response {
				return respond(403, `{"code":"insufficient_scope","permission":"revocations:read"}`)
			}
		})
		f.begin(FollowConfig{})
		synctest.Wait()
		if err := f.follower.State().Err; CodeOf(err) != ErrorCodeInsufficientScope {
			f.Errorf("state %+v", f.follower.State())
		}
	})
}

func TestWhatHasEndedIsForgotten(t *testing.T) {
	followed(t, FollowConfig{}, func(f *following) {
		c := f.stream()
		c.hello(t, "10")
		c.revoke(t, "11", "token", "tok_x", "")
		c.revoke(t, "12", "service_account", "sa_x", `,"gen":2`)
		for range 12 * 14 {
			time.Sleep(5 * time.Second)
			c.beat(t, "12")
		}
		c.revoke(t, "13", "service_account", "sa_x", `,"gen":3`) // and again, for longer
		if held := f.follower.State().Revoked; held != 2 {
			f.Errorf("%d are held before the end", held)
		}
		for range 12 * 3 {
			time.Sleep(5 * time.Second)
			c.beat(t, "13")
		}
		if held := f.follower.State().Revoked; held != 1 {
			f.Errorf("%d are held after the end of one", held)
		}
		for range 12 * 15 {
			time.Sleep(5 * time.Second)
			c.beat(t, "13")
		}
		if held := f.follower.State().Revoked; held != 0 || len(f.follower.revoked.Load().ends) != 0 {
			f.Errorf("%d are held for ever", held)
		}
	})
}

// synctest fails a test whose bubble has a goroutine left.
func TestCloseEndsEverything(t *testing.T) {
	for _, while := range []string{"listening", "waiting", "asking"} {
		t.Run(while, func(t *testing.T) {
			prepared(t, func(f *following) {
				if while == "waiting" {
					f.set(func() { f.snapshot = func() *http.Response { return respond(503, "", "Retry-After", "50") } })
				}
				f.begin(FollowConfig{})
				switch while {
				case "waiting":
					synctest.Wait()
				case "listening":
					f.stream().hello(t, "10")
				}
				began := time.Now()
				f.follower.Close()
				f.follower.Close()
				if !time.Now().Equal(began) || !f.follower.State().Stale {
					f.Errorf("it ended after %v, %+v", time.Since(began), f.follower.State())
				}
				f.want("nobody listens", f.token(nil), ReasonStale)
				if err := f.follower.Ready(f.Context()); while == "waiting" && err == nil {
					f.Error("it says that it will be ready")
				}
			})
		})
	}
}

// lockedBuffer is a buffer for goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	to *bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.to.Write(p)
}
