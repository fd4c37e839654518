package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/api"
)

const (
	oauthMetadataPath  = "/.well-known/oauth-authorization-server"
	openidMetadataPath = "/.well-known/openid-configuration"
	jwksPath           = "/.well-known/jwks.json"
)

// publicFor is how long a public document is fresh. It bounds how long a
// verifier may not know a new signing key, or a new algorithm, so rotation waits
// for it.
func publicFor(maxAge time.Duration) string {
	return "public, max-age=" + strconv.Itoa(int(maxAge/time.Second))
}

// document is something that anybody may read, from any origin, and keep.
type document struct {
	body []byte
	etag string // with its quotes

	cacheControl string
}

func newDocument(v any, maxAge time.Duration) (document, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return document{}, fmt.Errorf("httpapi: a public document: %w", err)
	}
	sum := sha256.Sum256(body)
	return document{body: body, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, cacheControl: publicFor(maxAge)}, nil
}

// send answers with the document, or with 304 to who has it already.
func (d document) send(c *fiber.Ctx) error {
	allowAnyOrigin(c)
	c.Set(fiber.HeaderCacheControl, d.cacheControl)
	c.Set(fiber.HeaderETag, d.etag)
	if tags := c.Get(fiber.HeaderIfNoneMatch); tags != "" && !noneMatch(tags, d.etag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(d.body)
}

// The one answer of all discovery operations.

// VisitMetadataGetResponse sends the document.
func (d document) VisitMetadataGetResponse(c *fiber.Ctx) error { return d.send(c) }

// VisitMetadataGetOpenidResponse sends the document.
func (d document) VisitMetadataGetOpenidResponse(c *fiber.Ctx) error { return d.send(c) }

// VisitJwksGetResponse sends the document.
func (d document) VisitJwksGetResponse(c *fiber.Ctx) error { return d.send(c) }

// VisitContractGetResponse sends the document.
func (d document) VisitContractGetResponse(c *fiber.Ctx) error { return d.send(c) }

// allowAnyOrigin lets scripts of any origin read the answer. There are no
// cookies here, and nothing that is allowed so depends on who asks.
func allowAnyOrigin(c *fiber.Ctx) {
	c.Set(fiber.HeaderAccessControlAllowOrigin, "*")
	c.Set(fiber.HeaderAccessControlExposeHeaders, "ETag, X-Request-Id")
	c.Set("Cross-Origin-Resource-Policy", "cross-origin")
}

// preflight answers the question that browsers ask first (Fetch standard, CORS
// protocol) on the paths that are open to any origin; no other path has it.
func preflight(c *fiber.Ctx) error {
	allowAnyOrigin(c)
	c.Set(fiber.HeaderAccessControlAllowMethods, "GET, HEAD")
	c.Set(fiber.HeaderAccessControlAllowHeaders, "*")
	c.Set(fiber.HeaderAccessControlMaxAge, "86400")
	return c.SendStatus(fiber.StatusNoContent)
}

// metadataDocument is what RFC 8414 section 2 and OpenID Connect Discovery
// section 3 publish. It says what is built and nothing else.
func metadataDocument(issuer string, algorithms []string, maxAge time.Duration) (document, error) {
	root := strings.TrimSuffix(issuer, "/")
	secrets := []string{"client_secret_basic", "client_secret_post"}
	return newDocument(api.Metadata{
		Issuer:                            issuer,
		TokenEndpoint:                     root + "/oauth2/token",
		IntrospectionEndpoint:             root + "/oauth2/introspect",
		RevocationEndpoint:                root + "/oauth2/revoke",
		JwksURI:                           root + jwksPath,
		ResponseTypesSupported:            []string{},
		GrantTypesSupported:               []string{"client_credentials"},
		TokenEndpointAuthMethodsSupported: secrets,
		// RFC 8414 section 2 takes access token types beside client methods here.
		IntrospectionEndpointAuthMethodsSupported: append(secrets[:2:2], "Bearer"),
		RevocationEndpointAuthMethodsSupported:    append(secrets[:2:2], "Bearer"),
		IDTokenSigningAlgValuesSupported:          algorithms,
		SubjectTypesSupported:                     []string{"public"},
	}, maxAge)
}

// contractDocument is the contract with this server in it.
func contractDocument(issuer string, maxAge time.Duration) (document, error) {
	raw, err := api.GetSpecJSON()
	if err != nil {
		return document{}, fmt.Errorf("httpapi: the embedded contract: %w", err)
	}
	var contract map[string]json.RawMessage
	if err := json.Unmarshal(raw, &contract); err != nil {
		return document{}, fmt.Errorf("httpapi: the embedded contract: %w", err)
	}
	servers, err := json.Marshal([]map[string]string{{"url": strings.TrimSuffix(issuer, "/")}})
	if err != nil {
		return document{}, err
	}
	contract["servers"] = servers
	return newDocument(contract, maxAge)
}
