package marque

import (
	"io"
	"net"
	"net/http"
	"net/url"
)

// HTTPClient is an http.Client for another API: each of its requests carries a
// token for the resource server with this identifier. It trusts the same
// authorities as the client itself. See [Client.Transport].
func (c *Client) HTTPClient(resource string, scopes ...string) *http.Client {
	return &http.Client{Transport: c.Transport(nil, resource, scopes...), Timeout: c.config.Timeout}
}

// Transport is an http.RoundTripper that adds a token for the resource server
// with this identifier to each request. base sends the requests; nil is the
// client's own.
//
// An answer 401 drops the token, and the request is sent once more with a new
// one where its body can be read again (Request.GetBody). Tokens go over https
// only, or to this very machine, and follow no redirect to another origin.
func (c *Client) Transport(base http.RoundTripper, resource string, scopes ...string) http.RoundTripper {
	if base == nil {
		base = c.http.Transport
	}
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{base: base, source: c.TokenSource(resource, scopes...)}
}

type transport struct {
	base   http.RoundTripper
	source *TokenSource
}

// RoundTrip leaves the request as it is and sends a copy, as the interface demands.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if !mayCarryToken(request) {
		return t.base.RoundTrip(request)
	}
	if !confidential(request.URL) {
		closeBody(request)
		return nil, misconfigured("a token is sent over https only, and the URL of this request is http")
	}
	token, err := t.source.acquire(request.Context())
	if err != nil {
		closeBody(request)
		return nil, err
	}
	response, err := t.base.RoundTrip(withBearer(request, token))
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		return response, err
	}
	t.source.drop(token)
	again := withBearer(request, nil)
	switch {
	case request.Body == nil || request.Body == http.NoBody:
	case request.GetBody == nil:
		return response, nil
	default:
		if again.Body, err = request.GetBody(); err != nil {
			return response, nil
		}
	}
	if token, err = t.source.acquire(request.Context()); err != nil {
		closeBody(again)
		return response, nil // the API's own refusal says more than ours
	}
	again.Header.Set("Authorization", "Bearer "+token.AccessToken.Reveal())
	// Read to the end, within reason, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10)
	_ = response.Body.Close()
	return t.base.RoundTrip(again)
}

func withBearer(request *http.Request, token *heldToken) *http.Request {
	copied := request.Clone(request.Context())
	if token != nil {
		copied.Header.Set("Authorization", "Bearer "+token.AccessToken.Reveal())
	}
	return copied
}

func closeBody(request *http.Request) {
	if request.Body != nil {
		_ = request.Body.Close()
	}
}

// mayCarryToken says no to a request that a redirect made, to another origin
// than that of the first request.
func mayCarryToken(request *http.Request) bool {
	first := request
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Scheme == request.URL.Scheme && first.URL.Host == request.URL.Host
}

// confidential holds where nobody on the way can read along.
func confidential(u *url.URL) bool {
	if u.Scheme == "https" {
		return true
	}
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
