package faults

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// plainVerifier knows RFC 7515, RFC 7517 and Cache-Control, and nothing of
// Marque. It believes a key set for exactly as long as its header says, counted
// from when it came, and does not ask earlier: the least that may be expected of
// a verifier, and the most that rotation may rely on. It is for one goroutine.
type plainVerifier struct {
	server *server.Server
	keys   map[string]*ecdsa.PublicKey
	until  time.Time
}

func newPlainVerifier(s *server.Server) *plainVerifier { return &plainVerifier{server: s} }

func (v *plainVerifier) verify(token string) error {
	if !time.Now().Before(v.until) {
		if err := v.fetch(); err != nil {
			return fmt.Errorf("the key set: %w", err)
		}
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return fmt.Errorf("%d parts", len(parts))
	}
	var header struct{ Alg, KID string }
	text, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err == nil {
		err = json.Unmarshal(text, &header)
	}
	if err != nil || header.Alg != "ES256" {
		return fmt.Errorf("header %s: %w", text, err)
	}
	key := v.keys[header.KID]
	if key == nil {
		return fmt.Errorf("the key %s is not among the %d that are known until %s", header.KID, len(v.keys), v.until)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return fmt.Errorf("a signature of %d bytes: %w", len(signature), err)
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return fmt.Errorf("the signature of %s does not verify", header.KID)
	}
	return nil
}

func (v *plainVerifier) fetch() error {
	response, err := v.server.HTTP.Get(v.server.URL + "/.well-known/jwks.json")
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	age, isAge := strings.CutPrefix(response.Header.Get("Cache-Control"), "public, max-age=")
	seconds, err := strconv.Atoi(age)
	if response.StatusCode != http.StatusOK || !isAge || err != nil {
		return fmt.Errorf("%d, Cache-Control %q", response.StatusCode, response.Header.Get("Cache-Control"))
	}
	var set struct {
		Keys []struct{ KID, Crv, X, Y string }
	}
	if err := json.NewDecoder(response.Body).Decode(&set); err != nil {
		return err
	}
	v.keys = map[string]*ecdsa.PublicKey{}
	for _, k := range set.Keys {
		x, err1 := base64.RawURLEncoding.DecodeString(k.X)
		y, err2 := base64.RawURLEncoding.DecodeString(k.Y)
		if k.Crv != "P-256" || err1 != nil || err2 != nil {
			continue
		}
		point := append(append([]byte{4}, x...), y...)
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return err
		}
		v.keys[k.KID] = key
	}
	v.until = time.Now().Add(time.Duration(seconds) * time.Second)
	return nil
}
