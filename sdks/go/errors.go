package marque

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Kind says what sort of failure an [Error] is.
type Kind string

// The kinds of failures.
const (
	// KindAPI is a refusal that the server answered with.
	KindAPI Kind = "api"
	// KindAuthentication means that the server gave no token: look at Code.
	KindAuthentication Kind = "authentication"
	// KindConnection means that the server could not be reached, or that the
	// connection broke.
	KindConnection Kind = "connection"
	// KindTimeout means that there was no answer in time.
	KindTimeout Kind = "timeout"
	// KindTLS means that the server's certificate was not accepted, or that it
	// does not speak TLS.
	KindTLS Kind = "tls"
	// KindProtocol means that what came back is no answer of Marque: HTML, a
	// redirect, a body that is cut off or too large.
	KindProtocol Kind = "protocol"
	// KindConfiguration means that the caller's own settings do not work.
	KindConfiguration Kind = "configuration"
	// KindCanceled means that the caller's context was cancelled.
	KindCanceled Kind = "canceled"
)

// FieldError is what the server found wrong with one member of a request.
type FieldError struct {
	// Pointer is a JSON pointer into the body (RFC 6901), ?name for a query
	// parameter, {name} for a path parameter, or the name of a header.
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// InUse is what uses a thing that was to be deleted or taken away.
type InUse struct {
	Count int         `json:"count"`
	Items []InUseItem `json:"items"` // the first 20, in the order of their ids
}

// InUseItem is one that uses it.
type InUseItem struct {
	Kind string `json:"kind"` // what it is, such as "role" or "service_account"
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Error is the error of every call of a [Client]. Find it with
//
//	if e, ok := errors.AsType[*marque.Error](err); ok && e.Code == marque.ErrorCodeNameTaken { … }
//
// Where the caller's context ended, errors.Is finds context.Canceled or
// context.DeadlineExceeded inside.
type Error struct {
	Kind      Kind
	Operation string // the operationId, such as "service_accounts.create"

	Status     int       // of the answer; 0 when there was none
	Code       ErrorCode // of the problem (RFC 9457) or of the OAuth error (RFC 6749 section 5.2)
	Detail     string    // what went wrong and what to do about it, for a human to read
	RequestID  string    // by which the server's log and audit record know the request
	Permission string    // with insufficient_scope, the one that is missing
	IssuedID   string    // with secret_already_issued, the id of what was issued
	Fields     []FieldError
	InUse      *InUse // with in_use, by what

	// Retryable says that the same call may succeed later. The client has already
	// repeated it as far as that was safe.
	Retryable  bool
	RetryAfter time.Duration // how long the server asks to wait; 0 when it does not say

	Header http.Header // of the answer
	Body   []byte      // of the answer, as it came

	cause error
}

// Error tells operation, status, code, detail and request id.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("marque: ")
	if e.Operation != "" {
		b.WriteString(e.Operation + ": ")
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, "%d ", e.Status)
	}
	if e.Code != "" {
		b.WriteString(string(e.Code) + ": ")
	}
	if e.Detail != "" {
		b.WriteString(e.Detail)
	} else {
		b.WriteString(string(e.Kind) + " error")
	}
	for _, f := range e.Fields {
		fmt.Fprintf(&b, "; %s %s", f.Pointer, f.Detail)
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

// Unwrap gives the cause, where there is one.
func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the code of the server's refusal, or "" when err is none.
func CodeOf(err error) ErrorCode {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func misconfigured(format string, args ...any) *Error {
	return &Error{Kind: KindConfiguration, Detail: fmt.Sprintf(format, args...)}
}

// ended is the error of a caller whose context is over.
func ended(operation string, ctx context.Context) *Error {
	cause := context.Cause(ctx)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &Error{Kind: KindTimeout, Operation: operation, Detail: "the deadline of the caller's context has passed", Retryable: true, cause: errors.Join(ctx.Err(), cause)}
	}
	return &Error{Kind: KindCanceled, Operation: operation, Detail: "the caller's context was cancelled", cause: errors.Join(ctx.Err(), cause)}
}
