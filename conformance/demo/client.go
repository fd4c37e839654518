package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// client makes plain HTTP calls: everything here can be done with curl.
type client struct {
	issuer string
	http   *http.Client
}

// object is a JSON object.
type object = map[string]any

func newClient(p profile) (*client, error) {
	authority, err := os.ReadFile(p.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		return nil, errors.New("no certificate in " + p.CAFile)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	return &client{issuer: p.Issuer, http: &http.Client{Transport: transport, Timeout: 10 * time.Second}}, nil
}

// auth puts a sign-in into a request.
type auth func(*http.Request)

func bearer(token string) auth {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// basic is HTTP Basic as OAuth wants it: both halves form-urlencoded first.
func basic(id, secret string) auth {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

// answer is a response, its body decoded where it is JSON.
type answer struct {
	status int
	body   object
}

func (c *client) do(ctx context.Context, method, path string, who auth, contentType string, body io.Reader) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.issuer+path, body)
	if err != nil {
		return answer{}, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	if who != nil {
		who(request)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: response.StatusCode}
	if len(content) > 0 && strings.Contains(response.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(content, &a.body); err != nil {
			return answer{}, err
		}
	}
	return a, nil
}
