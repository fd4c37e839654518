package marque

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
)

// ManagementAudience is the audience of tokens for Marque's own API.
const ManagementAudience = "urn:marque:management"

// Client calls Marque as one service account. Make it with [New] and share it:
// it holds the connections and the tokens.
type Client struct {
	Resources // one field for each resource of the API

	issuer     string
	root       string // issuer without a slash at the end
	credential Credential
	http       *http.Client
	config     Config // with the defaults filled in
	log        *slog.Logger
	management *TokenSource

	mu      sync.Mutex
	sources map[sourceKey]*TokenSource
}

// New makes a client. It reads local settings and files and asks no network, so
// that it fails only where a setting is wrong.
func New(config Config) (*Client, error) { return newClient(config, os.Getenv) }

func newClient(config Config, getenv func(string) string) (*Client, error) {
	chain := chain{getenv: getenv, issuer: config.Issuer, caFile: config.CAFile, profile: config.Profile}
	settings, err := chain.resolve(config.Credential, true)
	if err != nil {
		return nil, err
	}
	if err := settings.credential.check(); err != nil {
		return nil, err
	}
	if w := config.RefreshWindows; w != nil && (w.Advisory < 0 || w.Mandatory < 0) {
		return nil, misconfigured("the refresh windows must not be negative")
	}
	client, err := httpClient(config.HTTPClient, config.CAFile, settings.caFile)
	if err != nil {
		return nil, err
	}
	c := &Client{
		issuer: settings.issuer, root: strings.TrimSuffix(settings.issuer, "/"),
		credential: settings.credential, http: client, config: config, log: config.Logger,
		sources: make(map[sourceKey]*TokenSource),
	}
	c.config.defaults()
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.management = c.TokenSource(ManagementAudience)
	c.Resources = newResources(c)
	return c, nil
}

func (c *Config) defaults() {
	if c.Timeout <= 0 {
		c.Timeout = defaultTimeout
	}
	if c.TokenTimeout <= 0 {
		c.TokenTimeout = defaultTokenTimeout
	}
	if c.MaxRetries == 0 {
		c.MaxRetries = defaultRetries
	}
	if c.Clock == nil {
		c.Clock = systemClock{}
	}
}

// Issuer is the URL of the server.
func (c *Client) Issuer() string { return c.issuer }

// ClientID is the id of the service account. It is "" where the client signs in by
// an API key, for that does not tell: call Whoami.
func (c *Client) ClientID() string { return c.credential.clientID() }

// String tells whom the client calls, and as whom.
func (c *Client) String() string {
	id := c.ClientID()
	if id == "" {
		id = "with an API key"
	}
	return "marque client " + id + " at " + c.issuer
}

// GoString is String: the fields would be of no use to a reader.
func (c *Client) GoString() string { return c.String() }

// httpClient is given's copy, or one of our own, that follows no redirect and
// keeps no cookies. explicit is the constructor's CA file, resolved the one that
// was found anywhere.
func httpClient(given *http.Client, explicit, resolved string) (*http.Client, error) {
	client := new(http.Client)
	switch {
	case given != nil && explicit != "":
		return nil, misconfigured("CAFile and HTTPClient are both set: give the HTTP client the authorities to trust")
	case given != nil:
		*client = *given
	default:
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		transport.MaxIdleConnsPerHost = 64
		transport.TLSHandshakeTimeout = defaultTokenTimeout
		if resolved != "" {
			roots, err := readAuthorities(resolved)
			if err != nil {
				return nil, err
			}
			transport.TLSClientConfig.RootCAs = roots
		}
		client.Transport = transport
	}
	// What Marque answers is never a redirect, and a token must not follow one.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Jar = nil
	return client, nil
}

func readAuthorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError("the CA file", path, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, misconfigured("the CA file %s has no certificate in PEM form", path)
	}
	return roots, nil
}
