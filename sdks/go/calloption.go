package marque

import (
	"net/http"
	"time"
)

// CallOption changes one call.
type CallOption func(*callOptions)

type callOptions struct {
	timeout        time.Duration // of one attempt; 0 is the client's
	retries        int           // -1 is the client's
	header         http.Header
	idempotencyKey string
	response       *Response
	limit          int64 // of the answer, in bytes; 0 is the usual one
}

// WithTimeout limits each attempt of this call, instead of Config.Timeout. For a
// limit on the call with all its attempts use the context.
func WithTimeout(d time.Duration) CallOption { return func(o *callOptions) { o.timeout = d } }

// WithRetries sets how often this call may be repeated; 0 is never.
func WithRetries(n int) CallOption { return func(o *callOptions) { o.retries = max(n, 0) } }

// WithHeader adds a header to this call. Authorization cannot be set so.
func WithHeader(name, value string) CallOption {
	return func(o *callOptions) { o.header.Set(name, value) }
}

// WithIdempotencyKey sets the Idempotency-Key of this call instead of a random
// one, for a call that may be made again after this process has ended.
func WithIdempotencyKey(key string) CallOption {
	return func(o *callOptions) { o.idempotencyKey = key }
}

// WithResponse has the HTTP response of this call put into r, with the ETag and
// the request id.
func WithResponse(r *Response) CallOption { return func(o *callOptions) { o.response = r } }

// withLimit lets an answer be longer than any other.
func withLimit(bytes int64) CallOption { return func(o *callOptions) { o.limit = bytes } }

// Response is the HTTP response of a call.
type Response struct {
	Status   int
	Header   http.Header
	Body     []byte // as it came
	Attempts int    // how many requests it took
}

// RequestID is the id by which the server's log and audit record know the request.
func (r *Response) RequestID() string { return r.Header.Get("X-Request-Id") }

// ETag is the version of the resource (RFC 9110 section 8.8.3), for IfMatch.
func (r *Response) ETag() string { return r.Header.Get("ETag") }

// IfMatch makes the change only if the resource still has this ETag, which
// Response.ETag gives; else the error's code is precondition_failed.
func IfMatch(etag string) CallOption { return WithHeader("If-Match", etag) }
