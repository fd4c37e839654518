package marque

import (
	"net/http"
	"strconv"
	"strings"
)

// Reason says why a token is refused.
type Reason string

// The reasons. All of them are answered with 401, except those that say otherwise.
const (
	ReasonMalformed   Reason = "malformed"     // not a token in the one accepted spelling, or claims are missing
	ReasonType        Reason = "type"          // not an access token, or one that is bound to a key
	ReasonAlgorithm   Reason = "algorithm"     // not the algorithm of the key
	ReasonKeyUnknown  Reason = "key_unknown"   // signed with a key that the issuer does not publish
	ReasonSignature   Reason = "signature"     // the signature is not that of the key
	ReasonIssuer      Reason = "issuer"        // of another issuer
	ReasonAudience    Reason = "audience"      // for another API
	ReasonExpired     Reason = "expired"       // it has ended
	ReasonNotYetValid Reason = "not_yet_valid" // it begins in the future, beyond the leeway
	ReasonRevoked     Reason = "revoked"       // it was stopped
	ReasonScope       Reason = "scope"         // it lacks a permission: 403
	ReasonKeyFetch    Reason = "key_fetch"     // the issuer's keys cannot be had, so nothing is known about it: 503
	ReasonStale       Reason = "stale"         // it is not known whether it was stopped: 503
	ReasonMissing     Reason = "missing"       // a request without a token
	ReasonRequest     Reason = "request"       // a request with a token in its URL, or with two: 400
)

// TokenError is the error of a [Verifier]. It never has a part of the token in it.
type TokenError struct {
	Reason Reason
	// Scopes are the permissions that were asked for, with ReasonScope.
	Scopes []string

	detail string
	cause  error
}

// Error tells the reason.
func (e *TokenError) Error() string {
	text := "marque: the token is refused: " + string(e.Reason)
	switch e.Reason {
	case ReasonMissing, ReasonRequest:
		text = "marque: the request is refused"
	case ReasonKeyFetch:
		text = "marque: the token cannot be verified, since the keys of the issuer cannot be had"
	case ReasonStale:
		text = "marque: the token is not accepted, since it is not known what has been revoked lately"
	}
	if e.detail != "" {
		text += ": " + e.detail
	}
	if e.cause != nil {
		text += ": " + strings.TrimPrefix(e.cause.Error(), "marque: ")
	}
	return text
}

// Unwrap gives the cause of ReasonKeyFetch.
func (e *TokenError) Unwrap() error { return e.cause }

// Status is the HTTP status to answer with (RFC 6750 section 3.1).
func (e *TokenError) Status() int {
	switch e.Reason {
	case ReasonScope:
		return http.StatusForbidden
	case ReasonKeyFetch, ReasonStale:
		return http.StatusServiceUnavailable
	case ReasonRequest:
		return http.StatusBadRequest
	default:
		return http.StatusUnauthorized
	}
}

// Code is the error code of RFC 6750 section 3.1, or that of Marque for what it
// has none for. Who forges tokens learns no more from it than that they are no good.
func (e *TokenError) Code() ErrorCode {
	switch e.Reason {
	case ReasonScope:
		return ErrorCodeInsufficientScope
	case ReasonKeyFetch, ReasonStale:
		return ErrorCodeUnavailable
	case ReasonRequest:
		return ErrorCodeInvalidRequest
	case ReasonMissing:
		return ErrorCodeUnauthenticated
	default:
		return ErrorCodeInvalidToken
	}
}

// public is what a caller of the API is told.
func (e *TokenError) public() string {
	switch e.Reason {
	case ReasonScope:
		return "this call needs the permission " + strings.Join(e.Scopes, " and ")
	case ReasonKeyFetch, ReasonStale:
		return "tokens cannot be verified right now"
	case ReasonRequest:
		return e.detail
	case ReasonMissing:
		return "this call needs a token in the Authorization header"
	default:
		return "the token is not valid here: malformed, expired, revoked, or issued for another audience"
	}
}

// Challenge is the WWW-Authenticate header to answer with, or "" for none.
func (e *TokenError) Challenge() string {
	switch e.Reason {
	case ReasonKeyFetch, ReasonStale:
		return ""
	case ReasonMissing: // RFC 6750 section 3.1: no code for a request without a token
		return "Bearer"
	}
	challenge := "Bearer error=" + strconv.Quote(string(e.Code())) + ", error_description=" + strconv.Quote(e.public())
	if e.Reason == ReasonScope {
		challenge += ", scope=" + strconv.Quote(strings.Join(e.Scopes, " "))
	}
	return challenge
}
