package marquefiber

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	marque "github.com/marque-id/marque/sdks/go"
)

const (
	issuer   = "https://auth.example.com"
	audience = "https://invoices.example.com"
)

// keys answers each request with one public key.
type keys string

func (k keys) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(k))),
	}, nil
}

// newVerifier is a verifier, and what signs tokens that it accepts.
func newVerifier(t *testing.T) (*marque.Verifier, func(scope string) string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := private.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	set := keys(fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k","alg":"ES256","use":"sig","x":%q,"y":%q}]}`, b64(point[1:33]), b64(point[33:])))
	verifier, err := marque.NewVerifier(marque.VerifierConfig{Issuer: issuer, HTTPClient: &http.Client{Transport: set}})
	if err != nil {
		t.Fatal(err)
	}
	return verifier, func(scope string) string {
		now := time.Now().Unix()
		claims := fmt.Sprintf(`{"iss":%q,"sub":"sa_1","client_id":"sa_1","aud":%q,"iat":%d,"exp":%d,"jti":"tok_1","scope":%q}`, issuer, audience, now, now+60, scope)
		signing := b64([]byte(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`)) + "." + b64([]byte(claims))
		digest := sha256.Sum256([]byte(signing))
		r, s, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		return signing + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
}

func TestProtect(t *testing.T) {
	t.Parallel()
	verifier, sign := newVerifier(t)
	app := fiber.New()
	app.Get("/open", RequireScopes(), func(c *fiber.Ctx) error { return c.SendString("nobody gets here") })
	app.Use(Protect(verifier, audience, "invoices:read"))
	app.Get("/", func(c *fiber.Ctx) error {
		p, _ := marque.PrincipalFrom(c.UserContext())
		return c.SendString(p.Subject)
	})
	app.Get("/write", RequireScopes("invoices:write"), func(c *fiber.Ctx) error { return c.SendString("written") })
	reader, writer := "Bearer "+sign("invoices:read"), "Bearer "+sign("invoices:read invoices:write")

	for name, test := range map[string]struct {
		path      string
		headers   []string
		status    int
		body      string
		challenge string
	}{
		"good":                  {"/", []string{reader}, 200, "sa_1", ""},
		"no token":              {"/", nil, 401, `"code":"unauthenticated"`, "Bearer"},
		"a bad one":             {"/", []string{reader + "A"}, 401, `"code":"invalid_token"`, `error="invalid_token"`},
		"two of them":           {"/", []string{reader, reader}, 400, `"code":"invalid_request"`, `error="invalid_request"`},
		"in the URL":            {"/?access_token=x", []string{reader}, 400, `"code":"invalid_request"`, `error="invalid_request"`},
		"a permission too few":  {"/", []string{"Bearer " + sign("other")}, 403, `"code":"insufficient_scope"`, `scope="invoices:read"`},
		"too few for the route": {"/write", []string{reader}, 403, `"code":"insufficient_scope"`, `scope="invoices:write"`},
		"enough for the route":  {"/write", []string{writer}, 200, "written", ""},
		"outside of Protect":    {"/open", []string{reader}, 401, `"code":"unauthenticated"`, "Bearer"},
	} {
		request := httptest.NewRequest(http.MethodGet, test.path, nil)
		request.Header["Authorization"] = test.headers
		response, err := app.Test(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		challenge := response.Header.Get("WWW-Authenticate")
		if response.StatusCode != test.status || !strings.Contains(string(body), test.body) || !strings.Contains(challenge, test.challenge) || (challenge == "") != (test.status == 200) {
			t.Errorf("%s: %d, %q, %s", name, response.StatusCode, challenge, body)
		}
		if want := "application/problem+json"; test.status != 200 && response.Header.Get("Content-Type") != want {
			t.Errorf("%s: content type %q", name, response.Header.Get("Content-Type"))
		}
	}
}

func TestProtectWithoutAnAudiencePanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("any token would pass")
		}
	}()
	verifier, _ := newVerifier(t)
	Protect(verifier, "")
}
