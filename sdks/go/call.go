package marque

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// call is one logical call: an operation with its input made ready to be sent,
// as often as it takes.
type call struct {
	client  *Client
	op      *operation
	options callOptions
	url     string
	path    string // for hooks and logs
	header  http.Header
	body    []byte
	form    url.Values          // instead of body
	fresh   func() (any, error) // instead of body
	// keepTrying, where it is set, is asked before each repetition.
	keepTrying func() bool
}

// do makes one call of an operation and decodes the answer into out, unless out
// is nil. It is what generated code calls.
func (c *Client) do(ctx context.Context, op *operation, in *input, out any) error {
	call, err := c.prepare(op, in)
	if err != nil {
		return err
	}
	var answer *answer
	if call.byToken() {
		answer, err = call.withToken(ctx, c.management)
	} else {
		answer, err = call.run(ctx, nil)
	}
	if err != nil {
		return err
	}
	return answer.decode(op, out)
}

func (c *Client) prepare(op *operation, in *input) (*call, error) {
	call := &call{client: c, op: op, form: in.form, fresh: in.fresh, header: make(http.Header)}
	call.options = callOptions{retries: max(c.config.MaxRetries, 0), header: call.header}
	for _, option := range in.opts {
		option(&call.options)
	}
	if err := call.setHeaders(in); err != nil {
		return nil, err
	}
	var err error
	if call.path, err = expand(op, in.path); err != nil {
		return nil, err
	}
	call.url = c.address(op, call.path)
	if len(in.query) > 0 {
		call.url += "?" + in.query.Encode()
	}
	if in.body != nil {
		if call.body, err = json.Marshal(in.body); err != nil {
			return nil, &Error{Kind: KindConfiguration, Operation: op.id, Detail: "the request cannot be written as JSON", cause: err}
		}
	}
	return call, nil
}

// setHeaders adds to what the caller's options have set.
func (c *call) setHeaders(in *input) error {
	for name, values := range in.header {
		c.header[http.CanonicalHeaderKey(name)] = values
	}
	c.header.Del("Authorization") // the client's own, later
	c.header.Set("User-Agent", userAgent)
	c.header.Set("Accept", "application/json, application/problem+json")
	if in.body != nil || in.form != nil || in.fresh != nil {
		c.header.Set("Content-Type", c.op.contentType)
	}
	// One key per logical call, whatever number of requests that takes. To ask for
	// a token twice gives two, which harms nobody.
	if key := c.options.idempotencyKey; key != "" {
		c.header.Set("Idempotency-Key", key)
	} else if c.op.method == http.MethodPost && c.op.idempotent && !c.op.oauth {
		c.header.Set("Idempotency-Key", newIdempotencyKey())
	}
	for name, values := range c.header {
		if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00") {
			return &Error{Kind: KindConfiguration, Operation: c.op.id, Detail: "a header of the call has a line end in it"}
		}
	}
	return nil
}

// address is the URL of a path. RFC 8414 section 3.1 puts the well-known part of
// the metadata's path before the path of the issuer; all else comes after it.
func (c *Client) address(op *operation, path string) string {
	if op.id == "metadata.get" {
		if i := strings.IndexByte(c.root[len("https://"):], '/'); i >= 0 {
			i += len("https://")
			return c.root[:i] + path + c.root[i:]
		}
	}
	return c.root + path
}

// expand fills a path template in. A value that is empty or a dot would make
// another path of it.
func expand(op *operation, values map[string]string) (string, error) {
	path := op.path
	for name, value := range values {
		if value == "" || value == "." || value == ".." {
			return "", &Error{Kind: KindConfiguration, Operation: op.id, Detail: "the argument " + name + " must not be empty or dots"}
		}
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(value))
	}
	return path, nil
}

// byToken reports whether the call is made with a token. That is so too where the
// client itself would sign the call and has an API key: that is good for one thing
// only, to get a token. Where the caller's form has a credential, it is the
// caller's.
func (c *call) byToken() bool {
	if _, key := c.client.credential.(apiKey); key && c.op.auth == authClient {
		return c.op != opTokensIssue && !c.signsItself()
	}
	return c.op.auth == authBearer
}

// signsItself reports whether the caller's form has a credential.
func (c *call) signsItself() bool { return c.form.Has("client_id") || c.form.Has("client_secret") }

// withToken runs the call with a token, and once more with a new one where the
// server does not accept the first.
func (c *call) withToken(ctx context.Context, source *TokenSource) (*answer, error) {
	token, err := source.acquire(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := c.run(ctx, token)
	if e, ok := err.(*Error); !ok || e.Status != http.StatusUnauthorized {
		return answer, err
	}
	source.drop(token)
	if token, err = source.acquire(ctx); err != nil {
		return nil, err
	}
	return c.run(ctx, token)
}

// run makes attempts until one succeeds, fails for good, or the retries are used up.
func (c *call) run(ctx context.Context, token *heldToken) (*answer, error) {
	for n := 1; ; n++ {
		answer, err := c.attempt(ctx, n, token)
		if err == nil {
			return answer, nil
		}
		wait, again := c.waitAfter(err, n)
		if !again || ctx.Err() != nil || (c.keepTrying != nil && !c.keepTrying()) {
			return nil, err
		}
		c.client.log.LogAttrs(ctx, slog.LevelWarn, "marque request is repeated", slog.String("operation", c.op.id),
			slog.Int("attempt", n), slog.String("kind", string(err.Kind)), slog.Int("status", err.Status), slog.Duration("wait", wait))
		if c.client.config.Clock.Sleep(ctx, wait) != nil {
			if ctx.Err() != nil {
				return nil, ended(c.op.id, ctx)
			}
			return nil, err // there is not time enough left for another attempt
		}
		if c.keepTrying != nil && !c.keepTrying() {
			return nil, err
		}
	}
}

// attempt makes one request and reads the answer.
func (c *call) attempt(ctx context.Context, number int, token *heldToken) (*answer, *Error) {
	client, began := c.client, c.client.config.Clock.Now()
	timeout := client.config.Timeout
	if c.op.oauth {
		timeout = client.config.TokenTimeout
	}
	if c.options.timeout > 0 {
		timeout = c.options.timeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	answer, err := c.exchange(limited, token, timeout)
	if answer != nil {
		answer.asked = began
	}
	if err != nil {
		err.Operation = c.op.id
		// What the end of the caller's context looks like depends on how far we came.
		if ctx.Err() != nil && err.Kind != KindAPI && err.Kind != KindConfiguration {
			err = ended(c.op.id, ctx)
		}
	}
	c.report(ctx, Attempt{
		Operation: c.op.id, Number: number, Method: c.op.method, Path: c.path,
		Duration: client.config.Clock.Now().Sub(began),
	}, answer, err)
	if r := c.options.response; r != nil && answer != nil {
		*r = Response{Status: answer.status, Header: answer.header, Body: answer.body, Attempts: number}
	}
	return answer, err
}

// exchange sends the request and turns whatever happens into an answer or an
// error; where the server answered with an error, into both.
func (c *call) exchange(ctx context.Context, token *heldToken, timeout time.Duration) (*answer, *Error) {
	response, spoken, failure := c.send(ctx, c.client.http, token, timeout)
	if failure != nil {
		return nil, failure
	}
	limit := int64(maxAnswer)
	if c.op.oauth {
		limit = maxOAuthAnswer
	}
	if c.options.limit > 0 {
		limit = c.options.limit
	}
	return spoken.read(response, limit, timeout)
}

// shown is what a request has proven its sender with.
type shown struct {
	authorization string
	form          url.Values
	body          []byte
}

// read reads an answer. What only the request may hold is taken out of an error.
func (s shown) read(response *http.Response, limit int64, timeout time.Duration) (*answer, *Error) {
	defer func() { _ = response.Body.Close() }()
	answer, failure := readAnswer(response, limit, timeout)
	if failure != nil {
		failure.scrub(s.authorization, s.form, s.body)
	}
	return answer, failure
}

// send sends the request. The caller closes the body of the response.
func (c *call) send(ctx context.Context, client *http.Client, token *heldToken, timeout time.Duration) (*http.Response, shown, *Error) {
	authorization, form, failure := c.signIn(token)
	if failure != nil {
		return nil, shown{}, failure
	}
	body, failure := c.content(form)
	if failure != nil {
		return nil, shown{}, failure
	}
	request, err := http.NewRequestWithContext(ctx, c.op.method, c.url, bytes.NewReader(body))
	if err != nil {
		return nil, shown{}, &Error{Kind: KindConfiguration, Detail: "the request has no valid URL", cause: err}
	}
	request.Header = c.header.Clone()
	if hook := c.client.config.BeforeAttempt; hook != nil {
		hook(request)
	}
	request.Header.Del("Authorization")
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, shown{}, classify(err, c.client.root, timeout)
	}
	return response, shown{authorization, form, body}, nil
}

// opened is an answer that is read while it comes.
type opened struct {
	mediaType string
	body      io.ReadCloser
}

// open makes one request whose answer has no end. It is limited by the context
// alone. Anything but a 2xx is an error.
func (c *call) open(ctx context.Context, number int, token *heldToken) (*opened, *Error) {
	client, began := *c.client.http, c.client.config.Clock.Now()
	client.Timeout = 0
	timeout := c.client.config.Timeout
	response, spoken, err := c.send(ctx, &client, token, timeout)
	var answered *answer
	var stream *opened
	switch {
	case err != nil:
	case response.StatusCode/100 == 2:
		answered = &answer{status: response.StatusCode, header: response.Header}
		stream = &opened{answered.mediaType(), response.Body}
	default:
		answered, err = spoken.read(response, maxOAuthAnswer, timeout)
	}
	if err != nil {
		err.Operation = c.op.id
	}
	c.report(ctx, Attempt{
		Operation: c.op.id, Number: number, Method: c.op.method, Path: c.path,
		Duration: c.client.config.Clock.Now().Sub(began),
	}, answered, err)
	return stream, err
}

// signIn makes the Authorization header and completes the form. Where the
// caller's form has a credential already, the client adds none.
func (c *call) signIn(token *heldToken) (authorization string, form url.Values, failure *Error) {
	if token != nil {
		return "Bearer " + token.AccessToken.Reveal(), c.form, nil
	}
	if c.op.auth != authClient || c.signsItself() {
		return "", c.form, nil
	}
	form, header := maps.Clone(c.form), make(http.Header)
	if err := c.client.credential.authenticate(header, form); err != nil {
		return "", nil, asError(err)
	}
	return header.Get("Authorization"), form, nil
}

// content is the body of one attempt.
func (c *call) content(form url.Values) ([]byte, *Error) {
	switch {
	case form != nil:
		return []byte(form.Encode()), nil
	case c.fresh == nil:
		return c.body, nil
	}
	value, err := c.fresh()
	if err != nil {
		return nil, asError(err)
	}
	body, err := json.Marshal(value)
	if err != nil {
		return nil, asError(err)
	}
	return body, nil
}
