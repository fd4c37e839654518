package driver

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	marque "github.com/marque-id/marque/sdks/go"
)

// source is the one that the request names, or the client's own.
func source(c *client, r *Request) (resource string, scopes []string) {
	resource, scopes = c.resource, c.scopes
	if r.Resource != "" {
		resource = r.Resource
	}
	if r.Scopes != nil {
		scopes = r.Scopes
	}
	return resource, scopes
}

func token(ctx context.Context, c *client, r *Request) Answer {
	resource, scopes := source(c, r)
	t, err := c.TokenSource(resource, scopes...).Token(ctx)
	if err != nil {
		return refused(err)
	}
	return Answer{OK: object{
		"access_token": t.AccessToken.Reveal(), "expires_at": float64(t.Expires.UnixMilli()) / 1000, "text": printed(t),
	}}
}

func fetch(ctx context.Context, c *client, r *Request) Answer {
	resource, scopes := source(c, r)
	var body io.Reader
	if len(r.Body) > 0 {
		text := strings.Trim(string(r.Body), `"`)
		body = strings.NewReader(text)
		if r.Replayable != nil && !*r.Replayable {
			body = io.MultiReader(body) // net/http cannot read this one again
		}
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, r.URL, body)
	if err != nil {
		return fault("%v", err)
	}
	for name, value := range r.Headers {
		request.Header.Set(name, value)
	}
	response, err := c.HTTPClient(resource, scopes...).Do(request)
	if err != nil {
		return refused(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return refused(err)
	}
	return Answer{OK: seen(response.StatusCode, response.Header, string(text))}
}

func verify(ctx context.Context, v *verifier, r *Request) Answer {
	audience := v.audience
	if r.Audience != "" {
		audience = r.Audience
	}
	p, err := v.Verify(ctx, r.Token, audience, r.Scopes...)
	if err != nil {
		return refused(err)
	}
	return Answer{OK: principal(p)}
}

func following(v *verifier) Answer {
	if v.follower == nil {
		return fault("the verifier follows nothing")
	}
	state := v.follower.State()
	ok := object{"stale": state.Stale, "revoked": state.Revoked}
	if state.Position != "" {
		ok["position"] = state.Position
	}
	if state.Err != nil {
		ok["error"] = state.Err.Error()
	}
	return Answer{OK: ok}
}

func principal(p *marque.Principal) object {
	ok := object{
		"subject": p.Subject, "client_id": p.ClientID, "scopes": append([]string{}, p.Scopes...),
		"roles": append([]string{}, p.Roles...), "expires_at": p.Expires.Unix(),
	}
	var claims object
	if p.Claims(&claims) == nil {
		ok["claims"] = claims
	}
	return ok
}

func protect(ctx context.Context, v *verifier, r *Request) Answer {
	handler := v.Protect(v.audience, r.Scopes...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := marque.PrincipalFrom(r.Context()); ok {
			_, _ = io.WriteString(w, p.Subject)
		}
	}))
	request := httptest.NewRequestWithContext(ctx, r.Request.Method, "https://api.example.com"+r.Request.Path, nil)
	for _, header := range r.Request.Headers {
		request.Header.Add(header[0], header[1])
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	return Answer{OK: seen(recorder.Code, recorder.Header(), recorder.Body.String())}
}

func seen(status int, header http.Header, body string) object {
	headers := map[string]string{}
	for name, values := range header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return object{"status": status, "headers": headers, "body": body}
}
