package marque

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestACallCarriesATokenAndDecodesTheAnswer(t *testing.T) {
	t.Parallel()
	w := serving(func(int, sent) *http.Response { return respond(200, accountJSON, "ETag", `"7"`) })
	client, _ := newTestClient(t, w)
	var response Response
	account, err := client.ServiceAccounts.Get(t.Context(), "sa/../1", WithResponse(&response), WithHeader("Authorization", "Basic x"), WithHeader("X-Trace", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if account.ID != "sa_1" || account.Kind != "robot" || account.ExpiresAt != nil {
		t.Errorf("decoded %+v", account)
	}
	if response.Status != 200 || response.ETag() != `"7"` || response.RequestID() != "req_1" || response.Attempts != 1 || string(response.Body) != accountJSON {
		t.Errorf("response %+v", response)
	}
	got := w.sent[1]
	if got.url != testIssuer+"/v1/service-accounts/sa%2F..%2F1" {
		t.Errorf("asked for %s", got.url)
	}
	for name, want := range map[string]string{"Authorization": "Bearer tok-1", "User-Agent": "marque-go/" + Version, "X-Trace": "1", "Content-Type": "", "Idempotency-Key": ""} {
		if got.header.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, got.header.Get(name), want)
		}
	}
	sign := w.sent[0]
	if id, secret, _ := (&http.Request{Header: sign.header}).BasicAuth(); id != testID || secret != testSecret {
		t.Error("the client did not sign in by HTTP Basic")
	}
	if sign.body != "grant_type=client_credentials&resource=urn%3Amarque%3Amanagement" {
		t.Errorf("the form is %s", sign.body)
	}
}

func TestAbsentNullAndValueDifferOnTheWire(t *testing.T) {
	t.Parallel()
	w := serving(func(int, sent) *http.Response { return respond(200, accountJSON) })
	client, _ := newTestClient(t, w)
	patch := ServiceAccountUpdate{
		Owner: new("me"), Description: Null[string](), TokenLifetime: Value(0),
		Labels: Value(map[string]*string{"gone": nil, "kept": new("")}),
	}
	if _, err := client.ServiceAccounts.Update(t.Context(), "sa_1", patch, IfMatch(`"7"`)); err != nil {
		t.Fatal(err)
	}
	got := w.sent[1]
	if want := `{"description":null,"owner":"me","labels":{"gone":null,"kept":""},"token_lifetime":0}`; got.body != want {
		t.Errorf("sent %s, want %s", got.body, want)
	}
	if got.header.Get("If-Match") != `"7"` || got.header.Get("Content-Type") != "application/merge-patch+json" {
		t.Errorf("headers %v", got.header)
	}
}

func TestPassingFailuresAreRepeatedWhereThatIsSafe(t *testing.T) {
	t.Parallel()
	get := func(c *Client, opts ...CallOption) error {
		_, err := c.ServiceAccounts.Get(t.Context(), "sa_1", opts...)
		return err
	}
	create := func(c *Client, opts ...CallOption) error {
		_, err := c.ServiceAccounts.Create(t.Context(), ServiceAccountCreate{Name: "n", Owner: "o"}, opts...)
		return err
	}
	disable := func(c *Client, opts ...CallOption) error {
		_, err := c.ServiceAccounts.Disable(t.Context(), "sa_1", opts...)
		return err
	}
	// The contract has no POST that may not be sent again; the rule is for the day
	// when it has one.
	unsafe := func(c *Client, opts ...CallOption) error {
		op := &operation{id: "things.make", method: http.MethodPost, path: "/v1/things", auth: authBearer, contentType: contentJSON}
		return c.do(t.Context(), op, &input{body: map[string]string{"name": "n"}, opts: opts}, nil)
	}
	for name, test := range map[string]struct {
		call     func(*Client, ...CallOption) error
		status   int
		fields   []string
		opts     []CallOption
		requests int
		slept    []time.Duration // exactly; nil for the backoff of chance
	}{
		"500":                      {call: get, status: 500, requests: 3},
		"503":                      {call: get, status: 503, requests: 3},
		"429":                      {call: get, status: 429, requests: 3},
		"429 with Retry-After":     {call: get, status: 429, fields: []string{"Retry-After", "60"}, requests: 3, slept: []time.Duration{time.Minute, time.Minute}},
		"Retry-After too long":     {call: get, status: 429, fields: []string{"Retry-After", "61"}, requests: 1},
		"Retry-After as a date":    {call: get, status: 503, fields: []string{"Retry-After", "Mon, 02 Nov 2026 09:30:07 GMT", "Date", "Mon, 02 Nov 2026 09:30:00 GMT"}, requests: 3, slept: []time.Duration{7 * time.Second, 7 * time.Second}},
		"Retry-After of no use":    {call: get, status: 503, fields: []string{"Retry-After", "soon"}, requests: 3},
		"404":                      {call: get, status: 404, requests: 1},
		"no retries":               {call: get, status: 503, opts: []CallOption{WithRetries(0)}, requests: 1},
		"one retry":                {call: get, status: 503, opts: []CallOption{WithRetries(1)}, requests: 2},
		"POST that is unsafe":      {call: unsafe, status: 503, requests: 1},
		"POST that creates":        {call: create, status: 503, requests: 3},
		"POST that is idempotent":  {call: disable, status: 503, requests: 3},
		"POST with a key by hand":  {call: disable, status: 503, opts: []CallOption{WithIdempotencyKey("k")}, requests: 3},
		"POST, unsafe, with a key": {call: unsafe, status: 503, opts: []CallOption{WithIdempotencyKey("k")}, requests: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serving(func(int, sent) *http.Response { return respond(test.status, "", test.fields...) })
			client, clock := newTestClient(t, w)
			e := failure(t, test.call(client, test.opts...), KindAPI)
			if e.Status != test.status || e.Retryable != (test.status != 404) || e.RequestID != "req_1" {
				t.Errorf("error %+v", e)
			}
			requests := w.sent[1:]
			if len(requests) != test.requests {
				t.Fatalf("%d requests, want %d", len(requests), test.requests)
			}
			keys := map[string]bool{}
			for _, r := range requests {
				keys[r.header.Get("Idempotency-Key")] = true
			}
			wants := strings.HasSuffix(requests[0].url, "disable") || strings.HasSuffix(requests[0].url, "service-accounts")
			if len(keys) != 1 || requests[0].header.Get("Idempotency-Key") == "" && wants {
				t.Errorf("idempotency keys %v", keys)
			}
			slept := clock.sleeps()
			if test.slept != nil {
				if !slices.Equal(slept, test.slept) {
					t.Errorf("slept %v, want %v", slept, test.slept)
				}
				return
			}
			for i, d := range slept {
				if full := 500 * time.Millisecond << i; d < full/2 || d > full {
					t.Errorf("wait %d was %v, want it between %v and %v", i+1, d, full/2, full)
				}
			}
		})
	}
}

func TestBackoffGrowsToEightSeconds(t *testing.T) {
	t.Parallel()
	for n, full := range []time.Duration{1: 500 * time.Millisecond, 2: time.Second, 5: 8 * time.Second, 6: 8 * time.Second, 100: 8 * time.Second} {
		if full == 0 {
			continue
		}
		for range 100 {
			if d := backoff(n); d < full/2 || d > full {
				t.Fatalf("backoff %d is %v, want at most %v and at least half of it", n, d, full)
			}
		}
	}
}

func TestABrokenConnectionIsRepeatedAndThenTold(t *testing.T) {
	t.Parallel()
	w := &wire{answer: func(n int, s sent, _ *http.Request) (*http.Response, error) {
		if strings.HasSuffix(s.url, "/oauth2/token") {
			return tokenAnswer("tok", 900), nil
		}
		return nil, errors.New("connection reset by peer")
	}}
	client, _ := newTestClient(t, w)
	_, err := client.Whoami.Get(t.Context())
	e := failure(t, err, KindConnection)
	if !e.Retryable || len(w.to("/v1/whoami")) != 3 || !strings.Contains(e.Error(), testIssuer) || !strings.Contains(e.Error(), "reset") {
		t.Errorf("%v after %d requests", e, len(w.to("/v1/whoami")))
	}
}

func TestAnswersThatAreNoneOfMarque(t *testing.T) {
	t.Parallel()
	cut := func() *http.Response {
		r := respond(200, "")
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"id":"mqs_in-a-body`), errReader{io.ErrUnexpectedEOF}))
		return r
	}
	for name, test := range map[string]struct {
		answer func() *http.Response
		kind   Kind
		says   string
	}{
		"HTML instead of JSON": {func() *http.Response {
			return respond(200, "<html>mqs_in-a-body", "Content-Type", "text/html; charset=utf-8")
		}, KindProtocol, "text/html instead of JSON"},
		"no content type":       {func() *http.Response { return respond(200, "{}", "Content-Type", "") }, KindProtocol, "instead of JSON"},
		"JSON of another shape": {func() *http.Response { return respond(200, `["mqs_in-a-body"]`) }, KindProtocol, "not the JSON"},
		"JSON that ends early":  {func() *http.Response { return respond(200, `{"id":"mqs_in-a-body`) }, KindProtocol, "not the JSON"},
		"cut off":               {cut, KindProtocol, "cut off"},
		"too large":             {func() *http.Response { return respond(200, strings.Repeat(" ", maxAnswer+1)) }, KindProtocol, "longer than"},
		"redirect":              {func() *http.Response { return respond(302, "", "Location", "https://login.example.com/?x=1") }, KindProtocol, `redirects, which Marque never does, to "https://login.example.com/`},
		"HTML with an error":    {func() *http.Response { return respond(502, "<html>", "Content-Type", "text/html") }, KindProtocol, "web page"},
		"text with an error":    {func() *http.Response { return respond(404, "404 page not found", "Content-Type", "text/plain") }, KindAPI, "Not Found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := serving(func(int, sent) *http.Response { return test.answer() })
			client, _ := newTestClient(t, w)
			_, err := client.Whoami.Get(t.Context())
			e := failure(t, err, test.kind)
			if !strings.Contains(e.Error(), test.says) || e.Status == 0 || e.Operation != "whoami.get" {
				t.Errorf("error %q", e)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
				if strings.Contains(fmt.Sprintf(verb, e), "mqs_in-a-body") {
					t.Errorf("%s shows the body", verb)
				}
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestARefusalHasAllThatTheServerSaid(t *testing.T) {
	t.Parallel()
	w := serving(func(int, sent) *http.Response {
		return respond(403, `{"type":"urn:x","title":"T","status":403,"code":"brand_new_code","detail":"why","request_id":"req_9",
			"permission":"p:q","errors":[{"pointer":"/a","detail":"is bad"}]}`, "Content-Type", "application/problem+json", "Retry-After", "3")
	})
	client, _ := newTestClient(t, w)
	_, err := client.Whoami.Get(t.Context())
	e := failure(t, err, KindAPI)
	if e.Code != "brand_new_code" || CodeOf(err) != e.Code || e.Detail != "why" || e.Permission != "p:q" || len(e.Fields) != 1 || e.Retryable ||
		e.RetryAfter != 3*time.Second || len(e.Body) == 0 || e.Header.Get("Retry-After") != "3" {
		t.Errorf("error %+v", e)
	}
	if want := "marque: whoami.get: 403 brand_new_code: why; /a is bad (request req_1)"; e.Error() != want {
		t.Errorf("says %q, want %q", e, want)
	}
}

func TestARefusalTellsByDataWhatIsInUse(t *testing.T) {
	t.Parallel()
	w := serving(func(int, sent) *http.Response {
		return respond(409, `{"type":"urn:x","title":"T","status":409,"code":"in_use","detail":"why","request_id":"req_9",
			"in_use":{"count":21,"items":[{"kind":"service_account","id":"sa_1","name":"clerk"}]}}`, "Content-Type", "application/problem+json")
	})
	client, _ := newTestClient(t, w)
	e := failure(t, client.Roles.Delete(t.Context(), "role_1", nil), KindAPI)
	if e.Code != ErrorCodeInUse || e.InUse == nil || e.InUse.Count != 21 || len(e.InUse.Items) != 1 ||
		e.InUse.Items[0] != (InUseItem{Kind: "service_account", ID: "sa_1", Name: "clerk"}) {
		t.Errorf("error %+v, in use %+v", e, e.InUse)
	}
}

func TestARepetitionIsToldWhatBecameOfTheFirst(t *testing.T) {
	t.Parallel()
	w := serving(func(n int, _ sent) *http.Response {
		if n < 3 {
			return respond(409, `{"code":"idempotency_key_in_progress","detail":"wait"}`, "Content-Type", "application/problem+json", "Retry-After", "1")
		}
		return respond(409, `{"code":"secret_already_issued","detail":"why","id":"sec_7"}`, "Content-Type", "application/problem+json")
	})
	client, clock := newTestClient(t, w)
	_, err := client.ClientSecrets.Create(t.Context(), "sa_1", ClientSecretCreate{})
	e := failure(t, err, KindAPI)
	if e.Code != ErrorCodeSecretAlreadyIssued || e.IssuedID != "sec_7" || e.Retryable {
		t.Errorf("error %+v", e)
	}
	if slept := clock.sleeps(); len(slept) == 0 || slept[0] != time.Second {
		t.Errorf("slept %v", slept)
	}
}

func TestAServerThatRepeatsASecretDoesNotPutItIntoTheError(t *testing.T) {
	t.Parallel()
	w := &wire{answer: func(_ int, s sent, r *http.Request) (*http.Response, error) {
		_, secret, _ := r.BasicAuth()
		body := fmt.Sprintf(`{"error":"invalid_client","error_description":"%s and %s and %s"}`, secret, r.Header.Get("Authorization"), s.body)
		return respond(401, body, "X-Echo", r.Header.Get("Authorization")+secret), nil
	}}
	client, _ := newTestClient(t, w)
	_, err := client.Tokens.Introspect(t.Context(), TokensIntrospectRequest{Token: "the-token-in-question"})
	failure(t, err, KindAPI)
	basic := strings.TrimPrefix(w.sent[0].header.Get("Authorization"), "Basic ")
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		text := fmt.Sprintf(verb, err)
		for _, secret := range []string{testSecret, basic, "the-token-in-question"} {
			if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%#v", []byte(secret))[7:60]) {
				t.Errorf("%s shows a secret", verb)
			}
		}
	}
}

func TestTimeoutsAndCancellation(t *testing.T) {
	t.Parallel()
	hanging := &wire{answer: func(_ int, s sent, r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(s.url, "/oauth2/token") {
			return tokenAnswer("tok", 900), nil
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}
	synctest.Test(t, func(t *testing.T) {
		client, _ := newTestClient(t, hanging, func(c *Config) { c.Clock = nil })
		began := time.Now()
		_, err := client.Whoami.Get(t.Context(), WithRetries(0))
		e := failure(t, err, KindTimeout)
		if took := time.Since(began); took != 30*time.Second || !e.Retryable || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(e.Error(), "30s") {
			t.Errorf("%v after %v", e, took)
		}

		began = time.Now()
		_, err = client.Whoami.Get(t.Context(), WithRetries(0), WithTimeout(time.Second))
		if failure(t, err, KindTimeout); time.Since(began) != time.Second {
			t.Errorf("WithTimeout: %v", time.Since(began))
		}

		// The caller's own deadline ends all attempts, and none begins after it.
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
		defer cancel()
		began = time.Now()
		_, err = client.Whoami.Get(ctx)
		if failure(t, err, KindTimeout); time.Since(began) != 45*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, time.Since(began))
		}

		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		_, err = client.Whoami.Get(ctx)
		if e := failure(t, err, KindCanceled); e.Retryable || !errors.Is(err, context.Canceled) {
			t.Errorf("error %+v", e)
		}
	})
}

func TestTheEndOfTheContextIsToldAsSuchInTheMiddleOfABody(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	w := serving(func(int, sent) *http.Response {
		r := respond(200, "")
		r.Body = io.NopCloser(cancelling{cancel})
		return r
	})
	client, _ := newTestClient(t, w)
	_, err := client.Whoami.Get(ctx)
	if failure(t, err, KindCanceled); len(w.to("/v1/whoami")) != 1 {
		t.Errorf("%d requests", len(w.to("/v1/whoami")))
	}
}

// cancelling is a body during which the caller gives up.
type cancelling struct{ cancel context.CancelFunc }

func (c cancelling) Read([]byte) (int, error) { c.cancel(); return 0, context.Canceled }

func TestNoWaitBeginsThatTheDeadlineWouldCutOff(t *testing.T) {
	t.Parallel()
	w := serving(func(int, sent) *http.Response { return respond(503, "", "Retry-After", "20") })
	synctest.Test(t, func(t *testing.T) {
		client, _ := newTestClient(t, w, func(c *Config) { c.Clock = nil })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		began := time.Now()
		_, err := client.Whoami.Get(ctx)
		if e := failure(t, err, KindAPI); e.Status != 503 || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

func TestHooksAndLogSeeEachAttemptAndNoSecret(t *testing.T) {
	t.Parallel()
	w := serving(func(n int, _ sent) *http.Response {
		if n == 1 {
			return respond(503, `{"code":"unavailable"}`)
		}
		return respond(200, `{"id":"sec_1","service_account":"sa_1","hint":"abcd","created_at":"2026-11-02T09:30:00Z","client_secret":"mqs_brand-new"}`)
	})
	var before []string
	var after []Attempt
	var log bytes.Buffer
	client, _ := newTestClient(t, w, func(c *Config) {
		c.Logger = logger(&log)
		c.BeforeAttempt = func(r *http.Request) {
			before = append(before, fmt.Sprint(r.Header))
			r.Header.Set("Traceparent", "00-1")
			r.Header.Set("Authorization", "Bearer of the hook")
		}
		c.AfterAttempt = func(a Attempt) { after = append(after, a) }
	})
	// The retry is asked for, although a creation is not repeated by itself.
	issued, err := client.ClientSecrets.Get(t.Context(), "sa_1", "sec_1")
	if err != nil || issued.Hint != "abcd" {
		t.Fatal(err)
	}
	if len(after) != 3 || after[0].Operation != "tokens.issue" || after[1].Status != 503 || CodeOf(after[1].Err) != ErrorCodeUnavailable ||
		after[2].Number != 2 || after[2].Err != nil || after[2].RequestID != "req_1" || after[2].Path != "/v1/service-accounts/sa_1/client-secrets/sec_1" {
		t.Errorf("attempts %+v", after)
	}
	if got := w.sent[2].header; got.Get("Traceparent") != "00-1" || got.Get("Authorization") != "Bearer tok-1" {
		t.Errorf("headers %v", got)
	}
	if n := strings.Count(log.String(), "\n"); n != 4 || !strings.Contains(log.String(), `"is repeated`) && !strings.Contains(log.String(), "is repeated") {
		t.Errorf("%d lines of log:\n%s", n, &log)
	}
	all := log.String() + strings.Join(before, "\n")
	for _, secret := range []string{testSecret, "tok-1", "mqs_", "Basic "} {
		if strings.Contains(all, secret) {
			t.Errorf("%q was shown:\n%s", secret, all)
		}
	}
}

func TestArgumentsThatWouldMakeAnotherPathAreRefused(t *testing.T) {
	t.Parallel()
	client, _ := newTestClient(t, serving(func(int, sent) *http.Response { return respond(200, accountJSON) }))
	for _, id := range []string{"", ".", ".."} {
		_, err := client.ServiceAccounts.Get(t.Context(), id)
		failure(t, err, KindConfiguration)
	}
}

func TestAHeaderWithALineEndIsRefused(t *testing.T) {
	t.Parallel()
	w := serving(func(int, sent) *http.Response { return respond(200, accountJSON) })
	client, _ := newTestClient(t, w)
	for _, option := range []CallOption{IfMatch("a\nb"), WithHeader("X-A", "\r\nX-B: c"), WithIdempotencyKey("\x00")} {
		_, err := client.ServiceAccounts.Get(t.Context(), "sa_1", option)
		if failure(t, err, KindConfiguration); len(w.sent) != 0 {
			t.Errorf("%d requests", len(w.sent))
		}
	}
}

func TestTheMetadataOfAnIssuerWithAPath(t *testing.T) {
	t.Parallel()
	w := serving(func(int, sent) *http.Response { return respond(200, `{"issuer":"x"}`) })
	client, _ := newTestClient(t, w, func(c *Config) { c.Issuer = testIssuer + "/tenant/" })
	if _, err := client.Metadata.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.JWKS.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.sent[0].url != testIssuer+"/.well-known/oauth-authorization-server/tenant" || w.sent[1].url != testIssuer+"/tenant/.well-known/jwks.json" {
		t.Errorf("asked for %s and %s", w.sent[0].url, w.sent[1].url)
	}
	if w.sent[0].header.Get("Authorization") != "" {
		t.Error("what needs no sign-in carries one")
	}
}
