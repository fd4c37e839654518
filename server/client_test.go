package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/marque-id/marque/server/internal/identity"
)

// client is an HTTP client that trusts the server's authority.
func (s *server) client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: s.tls(t)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

func (s *server) tls(t *testing.T) *tls.Config {
	t.Helper()
	authority, err := os.ReadFile(s.profile.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &tls.Config{RootCAs: roots, ServerName: "localhost"}
}

func (s *server) adminSecret(t *testing.T) string {
	t.Helper()
	secret, err := os.ReadFile(s.profile.ClientSecretFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(secret)
}

// token signs in with a client secret, for the management API.
func (s *server) token(t *testing.T, client *http.Client, id, secret string) string {
	t.Helper()
	response, err := client.PostForm(s.profile.Issuer+"/oauth2/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret},
		"resource": {identity.ManagementIdentifier},
	})
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if text := read(t, response, &answer); response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", response.Status, text)
	}
	return answer.AccessToken
}

func (s *server) adminToken(t *testing.T, client *http.Client) string {
	t.Helper()
	return s.token(t, client, s.profile.ClientID, s.adminSecret(t))
}

// call makes a management call; out may be nil.
func (s *server) call(t *testing.T, client *http.Client, token, method, path, body string, out any) int {
	t.Helper()
	request, err := http.NewRequest(method, s.profile.Issuer+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if text := read(t, response, out); response.StatusCode >= 300 {
		t.Logf("%s %s: %s: %s", method, path, response.Status, text)
	}
	return response.StatusCode
}

func read(t *testing.T, response *http.Response, out any) string {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil && response.StatusCode < 300 {
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	return string(text)
}
