// Package fault defines the one error type that crosses package boundaries.
//
// A [Error] is a failure as a value: what kind it is, which documented code it
// carries and what may be said about it in public. Only the edge turns it into
// a response, in one of the two documented forms (RFC 9457 problem details, or
// RFC 6749 section 5.2 for the OAuth endpoints). Any error that is not a fault
// is shown to a caller as Internal and nothing else.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the closed set of things that can go wrong. The edge maps each kind
// to exactly one HTTP status.
type Kind uint8

// The kinds, with the status that the problem renderer answers.
const (
	KindInternal        Kind = iota // 500
	KindInvalid                     // 400
	KindUnauthenticated             // 401
	KindDenied                      // 403
	KindNotFound                    // 404
	KindConflict                    // 409
	KindPrecondition                // 412
	KindTooLarge                    // 413
	KindLimited                     // 429
	KindUnsupported                 // 415
	KindUnavailable                 // 503
	KindUnprocessable               // 422
)

// Code names a failure in a way that programs may rely on. The set is closed
// and stands as an enum in openapi.yaml; a test holds the two together.
type Code string

// Codes of the management API and of the login by API key (RFC 9457 member
// "code").
const (
	CodeInternal             Code = "internal"
	CodeInvalidRequest       Code = "invalid_request"
	CodeInvalidPageToken     Code = "invalid_page_token"
	CodeUnauthenticated      Code = "unauthenticated"
	CodeInvalidToken         Code = "invalid_token"
	CodeMalformedAPIKey      Code = "malformed_api_key"
	CodeInvalidAPIKey        Code = "invalid_api_key"
	CodeInvalidTarget        Code = "invalid_target" // RFC 8707 section 2
	CodeInvalidScope         Code = "invalid_scope"
	CodeInsufficientScope    Code = "insufficient_scope"
	CodeGrantExceedsCaller   Code = "grant_exceeds_caller"
	CodeOwnRights            Code = "own_rights"
	CodeBuiltIn              Code = "built_in"
	CodeNotFound             Code = "not_found"
	CodeMethodNotAllowed     Code = "method_not_allowed"
	CodeNameTaken            Code = "name_taken"
	CodeInUse                Code = "in_use"
	CodeLastAdministrator    Code = "last_administrator"
	CodeKindNotAllowed       Code = "credential_kind_not_allowed"
	CodeLimitReached         Code = "limit_reached"
	CodePreconditionFailed   Code = "precondition_failed"
	CodeKeyReused            Code = "idempotency_key_reused"
	CodeKeyInProgress        Code = "idempotency_key_in_progress"
	CodeSecretAlreadyIssued  Code = "secret_already_issued"
	CodeActiveKeyChanged     Code = "active_key_changed"
	CodeSigningKeyNotReady   Code = "signing_key_not_ready"
	CodeRequestTooLarge      Code = "request_too_large"
	CodeUnsupportedMediaType Code = "unsupported_media_type"
	CodeHeaderTooLarge       Code = "header_too_large"
	CodeRateLimited          Code = "rate_limited"
	CodeUnavailable          Code = "unavailable"
)

// Codes of the OAuth endpoints alone (RFC 6749 section 5.2). CodeInvalidRequest,
// CodeInvalidTarget and CodeInvalidScope are theirs too.
const (
	CodeInvalidClient        Code = "invalid_client"
	CodeUnauthorizedClient   Code = "unauthorized_client"
	CodeUnsupportedGrantType Code = "unsupported_grant_type"
	CodeUnsupportedTokenType Code = "unsupported_token_type"
)

// Field is one finding about one member of a request body.
type Field struct {
	Pointer string // RFC 6901 JSON pointer into the body, or "?name" for a query parameter
	Detail  string // what is wrong with it; never repeats a secret value
}

// InUse is what uses a thing that was to go.
type InUse struct {
	Count int
	First []User // the first of them, in the order of ids
}

// User is one of them.
type User struct {
	Kind     string // what it is, such as "role"
	ID, Name string
}

// Error is a failure that may be shown to a caller.
//
// Detail, Fields, Permission, InUse, ID and RetryAfter are public. The cause is
// not: it is logged once, at the edge, and never rendered.
type Error struct {
	Kind       Kind
	Code       Code
	Detail     string
	Fields     []Field
	Permission string        // with CodeInsufficientScope: the permission that is missing
	InUse      *InUse        // with CodeInUse: by what
	ID         string        // with CodeSecretAlreadyIssued: of what was issued
	RetryAfter time.Duration // with Limited, Unavailable, CodeKeyInProgress and CodeSigningKeyNotReady: when to try again

	cause error
}

// Error tells what went wrong, for logs; it includes the cause.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Detail, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Detail)
}

// Unwrap gives the private cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.cause }

// Because returns a copy of the fault that carries a private cause.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// After returns a copy of the fault that tells when to try again.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// From returns err as a fault; what is not one becomes Internal, its text kept
// as the private cause. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Internal(err)
}

// Is reports whether err is a fault with the given code.
func Is(err error, code Code) bool {
	if err == nil {
		return false
	}
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// New makes a fault of any kind and code.
func New(kind Kind, code Code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Internal hides a cause that no caller may see.
func Internal(cause error) *Error {
	return &Error{Kind: KindInternal, Code: CodeInternal, Detail: "something went wrong on our side", cause: cause}
}

// Invalid is a request that can never succeed as it stands.
func Invalid(format string, args ...any) *Error {
	return New(KindInvalid, CodeInvalidRequest, format, args...)
}

// InvalidFields is a request body with findings on single members.
func InvalidFields(fields ...Field) *Error {
	e := Invalid("the request has %d invalid member(s)", len(fields))
	e.Fields = fields
	return e
}

// NotFound is a thing that is not there, or that the caller may not know of.
func NotFound(what string) *Error {
	return New(KindNotFound, CodeNotFound, "there is no such %s", what)
}

// Used is a thing that cannot go while others rest on it.
func Used(by InUse, format string, args ...any) *Error {
	e := New(KindConflict, CodeInUse, format, args...)
	e.InUse = &by
	return e
}

// Unauthenticated is a call without any credential (RFC 6750 section 3.1: no
// error code is told then).
func Unauthenticated() *Error {
	return New(KindUnauthenticated, CodeUnauthenticated, "this call needs a bearer token")
}

// InvalidToken is a bearer token that is malformed, expired, revoked or meant
// for somebody else (RFC 6750 section 3.1).
func InvalidToken() *Error {
	return New(KindUnauthenticated, CodeInvalidToken, "the token is not valid here: malformed, expired, revoked, or issued for another audience")
}

// InsufficientScope is a good token that lacks a permission (RFC 6750 section 3.1).
func InsufficientScope(permission string) *Error {
	e := New(KindDenied, CodeInsufficientScope, "this call needs the permission %s", permission)
	e.Permission = permission
	return e
}

// InvalidClient is a failed client authentication (RFC 6749 section 5.2). It is
// one and the same for an unknown client and for a wrong secret.
func InvalidClient() *Error {
	return New(KindUnauthenticated, CodeInvalidClient, "client authentication failed")
}

// InvalidAPIKey is a failed sign-in by API key. It is one and the same for an
// unknown key and for one that may not sign in.
func InvalidAPIKey() *Error {
	return New(KindUnauthenticated, CodeInvalidAPIKey, "the API key is not valid here: unknown, ended, or not allowed to sign in")
}

// MalformedAPIKey is a text that cannot be an API key.
func MalformedAPIKey() *Error {
	return New(KindInvalid, CodeMalformedAPIKey, "this is no API key: it is cut off, mistyped, or something else")
}

// Precondition is an If-Match that names another version (RFC 9110 section 13.1.1).
func Precondition() *Error {
	return New(KindPrecondition, CodePreconditionFailed, "the resource has changed since it was read: read it again and repeat the change")
}

// KeyReused is an Idempotency-Key that was used for another request.
func KeyReused() *Error {
	return New(KindUnprocessable, CodeKeyReused, "the idempotency key was used for another request: a new request takes a new key")
}

// KeyInProgress is a request that is sent again while it is still worked on.
func KeyInProgress() *Error {
	return New(KindConflict, CodeKeyInProgress, "the first request with this idempotency key is still running: send it again a little later").After(time.Second)
}

// SecretAlreadyIssued is a creation that is sent again and cannot be answered
// as it was: the text of a secret is not kept.
func SecretAlreadyIssued(what, id string) *Error {
	e := New(KindConflict, CodeSecretAlreadyIssued, "this request has made the %s already, and its text cannot be told again: delete it and make another one", what)
	e.ID = id
	return e
}

// Limited asks the caller to slow down.
func Limited(after time.Duration) *Error {
	return New(KindLimited, CodeRateLimited, "too many requests").After(after)
}

// Unavailable is a failure that passes by itself.
func Unavailable(cause error) *Error {
	return New(KindUnavailable, CodeUnavailable, "the service cannot answer right now").After(time.Second).Because(cause)
}
