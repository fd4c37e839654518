package marque

import (
	"hash/crc32"
	"net/http"
	"net/url"
	"strings"
)

// APIKeyCredential is an API key. It needs no client id: the server knows whose
// the key is.
func APIKeyCredential(key Secret) Credential {
	return givenKey("the constructor", key)
}

func givenKey(source string, key Secret) Credential {
	return apiKey{source: source, given: true, read: func() (Secret, error) { return Secret(strings.TrimSpace(key.Reveal())), nil }}
}

// APIKeyFileCredential is a file that holds an API key. The file is read anew at
// each use, so that whoever rotates the key just replaces the file. White space
// around the key is ignored.
func APIKeyFileCredential(path string) Credential {
	return apiKey{source: path, read: func() (Secret, error) { return readSecret(path) }}
}

type apiKey struct {
	source string
	given  bool // it is there already, so that it can be looked at
	read   func() (Secret, error)
}

// clientID is unknown: it does not stand in the key.
func (apiKey) clientID() string { return "" }

func (k apiKey) check() error {
	if !k.given {
		return nil
	}
	_, err := k.key()
	return err
}

// key reads the key. One that cannot be right is sent nowhere.
func (k apiKey) key() (Secret, error) {
	key, err := k.read()
	if err != nil {
		return "", err
	}
	if fault := apiKeyFault(key.Reveal()); fault != "" {
		return "", misconfigured("the API key of %s %s", k.source, fault)
	}
	return key, nil
}

func (k apiKey) grant(resource, scope string) (*operation, *input) {
	return opTokensLogin, &input{fresh: func() (any, error) {
		key, err := k.key()
		if err != nil {
			return nil, err
		}
		login := Login{APIKey: key}
		if resource != "" {
			login.Resource = &resource
		}
		if scope != "" {
			login.Scope = &scope
		}
		return login.wire(), nil
	}}
}

// authenticate has nothing to add: an API key is for the sign-in alone.
func (apiKey) authenticate(http.Header, url.Values) error {
	return misconfigured("this operation takes a client id with a client secret, and the client has an API key: take tokens from a TokenSource, or call Tokens.Login")
}

// String shows no part of the key.
func (apiKey) String() string { return "API key" }

// GoString shows no part of the key.
func (k apiKey) GoString() string { return k.String() }

// An API key is a prefix, 43 characters of base62 and a CRC-32 of all that as 6 more.
const (
	apiKeyPrefix   = "mqk_"
	apiKeyLength   = len(apiKeyPrefix) + 43 + checksumLength
	checksumLength = 6
	base62         = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// apiKeyFault says what makes a text no API key, without a part of it; "" where
// it has the form of one.
func apiKeyFault(text string) string {
	body := text[:max(0, len(text)-checksumLength)]
	switch {
	case text == "":
		return "is empty"
	case strings.HasPrefix(text, "mqs_"):
		return "is a client secret, which goes with a client id: use SecretCredential, or MARQUE_CLIENT_ID and MARQUE_CLIENT_SECRET_FILE"
	case !strings.HasPrefix(text, apiKeyPrefix):
		return "does not begin with " + apiKeyPrefix
	case len(text) != apiKeyLength, checksum(body) != text[len(body):], strings.Trim(text[len(apiKeyPrefix):], base62) != "":
		return "is cut off or mistyped: its checksum does not fit. Copy it once more, whole"
	}
	return ""
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	out := make([]byte, checksumLength)
	for i := checksumLength - 1; i >= 0; i-- {
		out[i] = base62[sum%62]
		sum /= 62
	}
	return string(out)
}
