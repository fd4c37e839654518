package marque

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Credential proves to Marque who a client is. The ways to make one are
// [SecretCredential], [SecretFileCredential], [APIKeyCredential] and
// [APIKeyFileCredential].
type Credential interface {
	// clientID is the id of the service account; "" where only the server knows it.
	clientID() string
	// check refuses what can be seen to be wrong before anything is sent or read.
	check() error
	// grant is the operation that gives tokens for it, and what to ask there.
	grant(resource, scope string) (*operation, *input)
	// authenticate adds the proof to a request of an OAuth endpoint. It is called
	// for each attempt anew.
	authenticate(header http.Header, form url.Values) error
}

// SecretCredential is a client id and a client secret.
func SecretCredential(id string, secret Secret) Credential {
	return clientSecret{id: id, read: func() (Secret, error) { return secret, nil }}
}

// SecretFileCredential is a client id and a file that holds a client secret. The
// file is read anew at each use, so that whoever rotates the secret just
// replaces the file. White space around the secret is ignored.
func SecretFileCredential(id, path string) Credential {
	return clientSecret{id: id, read: func() (Secret, error) { return readSecret(path) }}
}

type clientSecret struct {
	id   string
	read func() (Secret, error)
}

func (c clientSecret) clientID() string { return c.id }

func (c clientSecret) check() error { return nil }

func (c clientSecret) grant(resource, scope string) (*operation, *input) {
	form := url.Values{"grant_type": {"client_credentials"}}
	setParam(form, "resource", resource)
	setParam(form, "scope", scope)
	return opTokensIssue, &input{form: form}
}

// authenticate uses HTTP Basic, the one method that every OAuth server must
// know; both parts are form-urlencoded first (RFC 6749 section 2.3.1).
func (c clientSecret) authenticate(header http.Header, _ url.Values) error {
	secret, err := c.read()
	if err != nil {
		return err
	}
	if c.id == "" || secret == "" {
		return misconfigured("the client id or the client secret is empty")
	}
	r := http.Request{Header: header}
	r.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(secret.Reveal()))
	return nil
}

// String shows the client id only, for fmt would show everything.
func (c clientSecret) String() string { return "client secret of " + c.id }

// GoString shows the client id only.
func (c clientSecret) GoString() string { return c.String() }

// maxSecretFile is far more than any secret has: a wrong path is noticed before
// it is sent anywhere.
const maxSecretFile = 4 << 10

// readSecret reads a file that holds a secret. No error repeats its content.
func readSecret(path string) (Secret, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fileError("the secret file", path, err)
	}
	text := strings.TrimSpace(string(content))
	switch {
	case text == "":
		return "", misconfigured("the secret file %s is empty", path)
	case len(text) > maxSecretFile || strings.ContainsAny(text, " \t\r\n\x00"):
		return "", misconfigured("the secret file %s does not hold one secret and nothing else", path)
	}
	return Secret(text), nil
}

func fileError(what, path string, err error) *Error {
	e := misconfigured("%s %s cannot be read: %v", what, path, errors.Unwrap(err))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Detail = what + " " + path + " does not exist"
	case errors.Is(err, fs.ErrPermission):
		e.Detail = what + " " + path + " may not be read by this process: look at its owner and mode"
	}
	e.cause = err
	return e
}
