// Command issuance is the limit that token issuance is measured against: the
// same HTTP stack, TLS and signature as Marque's, and nothing else. It reads the
// form, checks the secret by HMAC, signs the same claims with golang-jwt's own
// ES256 and answers. No database, no audit, no policy. It is never slowed down
// to make anything else look better.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"flag"
	"fmt"
	"log"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/golang-jwt/jwt/v5"

	"github.com/marque-id/marque/conformance/load/limits"
)

func main() {
	serve := limits.Flags()
	clientID := flag.String("client-id", "", "the one client that may ask")
	secret := flag.String("client-secret", "", "its secret")
	flag.Parse()

	pepper := make([]byte, 32)
	_, _ = rand.Read(pepper)
	want := mac(pepper, *secret)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}

	serve(func(app *fiber.App) {
		app.Post("/oauth2/token", func(c *fiber.Ctx) error {
			if c.FormValue("grant_type") != "client_credentials" || c.FormValue("client_id") != *clientID ||
				subtle.ConstantTimeCompare(mac(pepper, c.FormValue("client_secret")), want) != 1 {
				return c.SendStatus(fiber.StatusUnauthorized)
			}
			now := time.Now()
			token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
				"iss": "https://localhost:9440", "sub": *clientID, "client_id": *clientID,
				"aud": c.FormValue("resource"), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(),
				"jti":   fmt.Sprintf("tok_%026d", now.UnixNano()),
				"scope": "invoices:read invoices:write", "roles": []string{"bookkeeper"},
				"gen": 1, "cred": "sec_00000000000000000000000000",
			})
			token.Header["kid"] = "key_00000000000000000000000000"
			token.Header["typ"] = "at+jwt"
			signed, err := token.SignedString(key)
			if err != nil {
				return err
			}
			c.Set(fiber.HeaderCacheControl, "no-store")
			return c.JSON(fiber.Map{"access_token": signed, "token_type": "Bearer", "expires_in": 900, "scope": "invoices:read invoices:write"})
		})
	})
}

func mac(pepper []byte, secret string) []byte {
	h := hmac.New(sha256.New, pepper)
	h.Write([]byte(secret))
	return h.Sum(nil)
}
