// Package mint makes keys and tokens for verifiers to judge, good ones and bad
// ones. It is written on the standard library alone and shares nothing with the
// server or an SDK, whose mistakes it would repeat.
package mint

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Token says how a token is made: a good one but for what is named.
type Token struct {
	Key    string         `yaml:"key" json:"key"`       // the key that signs; k1 when empty
	Header map[string]any `yaml:"header" json:"header"` // merged into the header; null removes
	Claims map[string]any `yaml:"claims" json:"claims"` // merged likewise; "now+900" is a time
	// Sign changes how it is signed: none, hmac (with the public key's PEM, DER or
	// JWK as the secret: hmac-pem, hmac-der, hmac-jwk), zero, truncated, flipped,
	// der (an ASN.1 signature instead of a pair of numbers), sha512, pss.
	Sign string `yaml:"sign" json:"sign"`
	// Shape changes the text afterwards: padded, spaced, four (parts), two, json.
	Shape string `yaml:"shape" json:"shape"`
	Raw   string `yaml:"raw" json:"raw"` // the text itself, instead of all this
	// Payload is what is signed, instead of claims.
	Payload string `yaml:"payload" json:"payload"`
}

// Keys are the keys of one case.
type Keys struct {
	signers map[string]signer
	extra   map[string]json.RawMessage
}

type signer struct {
	kid, algorithm string
	private        crypto.Signer
}

// Now is the time at which the clocks of mock cases stand at first.
const Now = 1793612700

// pool keeps keys for the whole run: making RSA keys takes long, and that two
// cases use one key is no matter.
var pool struct {
	sync.Mutex
	keys map[string]crypto.Signer
}

// NewKeys makes keys, by name and algorithm.
func NewKeys(algorithms map[string]string) (*Keys, error) {
	k := &Keys{signers: map[string]signer{}, extra: map[string]json.RawMessage{}}
	for name, algorithm := range algorithms {
		if strings.HasPrefix(algorithm, "{") {
			k.extra[name] = json.RawMessage(algorithm)
			continue
		}
		private, err := pooled(name, algorithm)
		if err != nil {
			return nil, err
		}
		k.signers[name] = signer{name, algorithm, private}
	}
	return k, nil
}

func pooled(name, algorithm string) (crypto.Signer, error) {
	pool.Lock()
	defer pool.Unlock()
	if pool.keys == nil {
		pool.keys = map[string]crypto.Signer{}
	}
	id := name + " " + algorithm
	if pool.keys[id] != nil {
		return pool.keys[id], nil
	}
	var key crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("there are no keys for the algorithm %q", algorithm)
	}
	pool.keys[id] = key
	return key, err
}

// JWKS is the key set with the named keys, their public parts.
func (k *Keys) JWKS(names []string) ([]byte, error) {
	keys := []json.RawMessage{}
	for _, name := range names {
		if k.extra[name] != nil {
			keys = append(keys, k.extra[name])
			continue
		}
		s, known := k.signers[name]
		if !known {
			return nil, fmt.Errorf("the case has no key %q", name)
		}
		text, err := json.Marshal(s.jwk())
		if err != nil {
			return nil, err
		}
		keys = append(keys, text)
	}
	return json.Marshal(map[string]any{"keys": keys})
}

func (s signer) jwk() map[string]string {
	jwk := map[string]string{"kid": s.kid, "alg": s.algorithm, "use": "sig"}
	switch public := s.private.Public().(type) {
	case *ecdsa.PublicKey:
		size := (public.Curve.Params().BitSize + 7) / 8
		point, _ := public.Bytes()
		jwk["kty"], jwk["crv"] = "EC", public.Curve.Params().Name
		jwk["x"], jwk["y"] = encode(point[1:1+size]), encode(point[1+size:])
	case *rsa.PublicKey:
		jwk["kty"], jwk["n"], jwk["e"] = "RSA", encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
	case ed25519.PublicKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", encode(public)
	}
	return jwk
}

// Make makes a token of the given issuer.
func (k *Keys) Make(t Token, issuer string) (string, error) {
	if t.Raw != "" {
		return t.Raw, nil
	}
	if t.Key == "" {
		t.Key = "k1"
	}
	s, known := k.signers[t.Key]
	if !known {
		return "", fmt.Errorf("the case has no key %q", t.Key)
	}
	header := merge(map[string]any{"alg": s.algorithm, "kid": s.kid, "typ": "at+jwt"}, t.Header)
	payload := []byte(t.Payload)
	if t.Payload == "" {
		claims := merge(map[string]any{
			"iss": issuer, "sub": "sa_01jzt3v0q8n4m6x2c9k7b5h1d0", "client_id": "sa_01jzt3v0q8n4m6x2c9k7b5h1d0",
			"aud": "https://api.example.com", "iat": "now", "nbf": "now", "exp": "now+900", "jti": "tok_01jzt3v0q8n4m6x2c9k7b5h1d0",
			"scope": "invoices:read", "roles": []string{"invoice-clerk"}, "gen": 1, "cred": "sec_01jzt3v0q8n4m6x2c9k7b5h1d0",
		}, t.Claims)
		for name, value := range claims {
			claims[name] = moment(value)
			if text, ok := value.(string); ok && strings.Contains(text, "${issuer}") {
				claims[name] = strings.ReplaceAll(text, "${issuer}", issuer)
			}
		}
		var err error
		if payload, err = json.Marshal(claims); err != nil {
			return "", err
		}
	}
	head, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	signed := encode(head) + "." + encode(payload)
	signature, err := s.sign(t.Sign, []byte(signed))
	if err != nil {
		return "", err
	}
	return shape(t.Shape, signed, signature), nil
}

func merge(into, from map[string]any) map[string]any {
	for name, value := range from {
		if value == nil {
			delete(into, name)
		} else {
			into[name] = value
		}
	}
	return into
}

var relative = regexp.MustCompile(`^now([+-][0-9]+)?$`)

// moment turns "now+900" into seconds since 1970.
func moment(value any) any {
	text, _ := value.(string)
	m := relative.FindStringSubmatch(text)
	if m == nil {
		return value
	}
	offset, _ := strconv.Atoi(m[1])
	return Now + offset
}

func (s signer) sign(how string, signed []byte) ([]byte, error) {
	switch how {
	case "none":
		return nil, nil
	case "hmac-pem", "hmac-der", "hmac-jwk":
		secret, err := s.public(how)
		if err != nil {
			return nil, err
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(signed)
		return mac.Sum(nil), nil
	}
	signature, err := s.plain(signed, how)
	if err != nil {
		return nil, err
	}
	switch how {
	case "zero":
		return make([]byte, len(signature)), nil
	case "truncated":
		return signature[:len(signature)-1], nil
	case "flipped":
		signature[len(signature)/2] ^= 1
	}
	return signature, nil
}

func (s signer) plain(signed []byte, how string) ([]byte, error) {
	digest := sha256.Sum256(signed)
	switch key := s.private.(type) {
	case ed25519.PrivateKey:
		return ed25519.Sign(key, signed), nil
	case *rsa.PrivateKey:
		if how == "pss" {
			return rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], nil)
		}
		return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		if how == "der" {
			return ecdsa.SignASN1(rand.Reader, key, digest[:])
		}
		return pair(key, signed)
	}
	return nil, fmt.Errorf("no signature with a %T", s.private)
}

// pair is an ECDSA signature in the form of JWS: r and s, of the curve's size.
func pair(key *ecdsa.PrivateKey, signed []byte) ([]byte, error) {
	hash := crypto.SHA256
	if key.Curve == elliptic.P384() {
		hash = crypto.SHA384
	}
	h := hash.New()
	h.Write(signed)
	r, s, err := ecdsa.Sign(rand.Reader, key, h.Sum(nil))
	if err != nil {
		return nil, err
	}
	size := (key.Curve.Params().BitSize + 7) / 8
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...), nil
}

func (s signer) public(form string) ([]byte, error) {
	if form == "hmac-jwk" {
		return json.Marshal(s.jwk())
	}
	der, err := x509.MarshalPKIXPublicKey(s.private.Public())
	if err != nil || form == "hmac-der" {
		return der, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

func shape(how, signed string, signature []byte) string {
	whole := signed + "." + encode(signature)
	switch how {
	case "padded":
		return signed + "." + base64.URLEncoding.EncodeToString(signature)
	case "spaced":
		return strings.Replace(whole, ".", ". ", 1)
	case "two":
		return signed
	case "four":
		return whole + ".e30"
	case "json":
		head, payload, _ := strings.Cut(signed, ".")
		return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, head, payload, encode(signature))
	}
	return whole
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Public is the public part of a key.
func (k *Keys) Public(name string) (crypto.PublicKey, error) {
	s, known := k.signers[name]
	if !known {
		return nil, fmt.Errorf("the case has no key %q", name)
	}
	return s.private.Public(), nil
}
