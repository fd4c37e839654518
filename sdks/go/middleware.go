package marque

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
)

type principalKey struct{}

// PrincipalFrom returns who calls, inside of a handler that [Verifier.Protect]
// protects.
func PrincipalFrom(ctx context.Context) (*Principal, bool) {
	p, ok := ctx.Value(principalKey{}).(*Principal)
	return p, ok
}

// WithPrincipal is a context in which PrincipalFrom finds p, for middleware of
// other frameworks around [Verifier.Verify].
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// Protect is middleware: what it wraps is called only with a good token for this
// audience (the identifier of the API's resource server) that gives these
// permissions. All else is answered as RFC 6750 says. It panics if the audience
// is empty, since any token would pass.
func (v *Verifier) Protect(audience string, scopes ...string) func(http.Handler) http.Handler {
	if audience == "" {
		panic("marque: Protect needs an audience, the identifier of the API's resource server")
	}
	scopes = slices.Clone(scopes)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, err := BearerToken(r)
			if err != nil {
				WriteTokenError(w, err)
				return
			}
			principal, err := v.Verify(r.Context(), token, audience, scopes...)
			if err != nil {
				WriteTokenError(w, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(WithPrincipal(r.Context(), principal)))
		})
	}
}

// RequireScopes is middleware for single routes inside of Protect: the token
// must give these permissions too.
func RequireScopes(scopes ...string) func(http.Handler) http.Handler {
	scopes = slices.Clone(scopes)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			principal, ok := PrincipalFrom(r.Context())
			switch {
			case !ok: // not inside of Protect: nobody has been let in
				WriteTokenError(w, &TokenError{Reason: ReasonMissing})
			case !principal.HasScopes(scopes...):
				WriteTokenError(w, &TokenError{Reason: ReasonScope, Scopes: scopes})
			default:
				next.ServeHTTP(w, r)
			}
		})
	}
}

// BearerToken finds the token of a request (RFC 6750 section 2.1). The error is
// a [*TokenError].
func BearerToken(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) > 1:
		return "", &TokenError{Reason: ReasonRequest, detail: "a request has one Authorization header"}
	case r.URL.RawQuery != "" && r.URL.Query().Has("access_token"):
		// URLs end in logs, histories and Referer headers.
		return "", &TokenError{Reason: ReasonRequest, detail: "a token is sent in the Authorization header, never in the URL"}
	case len(headers) == 0:
		return "", &TokenError{Reason: ReasonMissing}
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", &TokenError{Reason: ReasonMissing}
	}
	return token, nil
}

// WriteTokenError answers a request whose token was refused: with the status,
// WWW-Authenticate and problem details (RFC 9457) that belong to the error. Any
// error that is no [*TokenError] is a bare 500, or 503 where the caller has gone.
func WriteTokenError(w http.ResponseWriter, err error) {
	status, code, detail := http.StatusInternalServerError, ErrorCodeInternal, ""
	if refusal, ok := errors.AsType[*TokenError](err); ok {
		status, code, detail = refusal.Status(), refusal.Code(), refusal.public()
		if challenge := refusal.Challenge(); challenge != "" {
			w.Header().Set("WWW-Authenticate", challenge)
		}
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5") // failurePause
		}
	} else if e, ok := errors.AsType[*Error](err); ok && (e.Kind == KindCanceled || e.Kind == KindTimeout) {
		status, code = http.StatusServiceUnavailable, ErrorCodeUnavailable
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Del("Content-Length")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Type   string    `json:"type"`
		Title  string    `json:"title"`
		Status int       `json:"status"`
		Code   ErrorCode `json:"code"`
		Detail string    `json:"detail,omitempty"`
	}{"urn:marque:problem:" + string(code), http.StatusText(status), status, code, detail})
}
