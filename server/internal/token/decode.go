package token

import (
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"
)

// errClaims is a payload that is not the claims of one of our access tokens.
var errClaims = errors.New("token: malformed claims")

// maxInteger is what NumericDate and gen stay below: beyond 2^53 JSON readers
// disagree about a number.
const maxInteger = 1 << 53

// The claims as bits, to see that each stands there once.
const (
	claimIss = 1 << iota
	claimSub
	claimClientID
	claimAud
	claimIat
	claimNbf
	claimExp
	claimJti
	claimScope
	claimRoles
	claimGen
	claimCred

	claimsRequired = claimIss | claimSub | claimClientID | claimAud | claimIat | claimNbf |
		claimExp | claimJti | claimScope | claimGen | claimCred
)

// decodeClaims reads a payload strictly: a flat object of the claims that we
// write, each once, each of its one type, nothing else. A claim that is unknown
// here is a refusal and not ignored: it may bind the token to something (cnf)
// that this version would not enforce.
//
// The strings of the result share one copy of the payload.
func decodeClaims(payload []byte) (Claims, error) {
	var c Claims
	d := decoder{text: string(payload)}
	if !utf8.ValidString(d.text) || !d.claims(&c) {
		return Claims{}, errClaims
	}
	return c, nil
}

// decoder walks the payload once. Its methods report whether what they expect
// was there.
type decoder struct {
	text string
	pos  int
}

func (d *decoder) claims(c *Claims) bool {
	if !d.eat('{') {
		return false
	}
	seen := 0
	for {
		name, ok := d.str()
		if !ok || !d.eat(':') {
			return false
		}
		bit := 0
		switch name {
		case "iss":
			bit, ok = claimIss, d.strInto(&c.Issuer)
		case "sub":
			bit, ok = claimSub, d.strInto(&c.Subject)
		case "client_id":
			bit, ok = claimClientID, d.strInto(&c.ClientID)
		case "aud":
			bit, ok = claimAud, d.strInto(&c.Audience)
		case "iat":
			bit, ok = claimIat, d.integer(&c.IssuedAt)
		case "nbf":
			bit, ok = claimNbf, d.integer(&c.NotBefore)
		case "exp":
			bit, ok = claimExp, d.integer(&c.ExpiresAt)
		case "jti":
			bit, ok = claimJti, d.strInto(&c.TokenID)
		case "scope":
			bit, ok = claimScope, d.strInto(&c.Scope)
		case "roles":
			bit, ok = claimRoles, d.list(&c.Roles)
		case "gen":
			bit, ok = claimGen, d.integer(&c.Gen)
		case "cred":
			bit, ok = claimCred, d.strInto(&c.CredentialID)
		default:
			return false
		}
		if !ok || seen&bit != 0 {
			return false
		}
		seen |= bit
		if d.eat(',') {
			continue
		}
		break
	}
	return d.eat('}') && d.end() && seen&claimsRequired == claimsRequired
}

func (d *decoder) space() {
	for d.pos < len(d.text) {
		switch d.text[d.pos] {
		case ' ', '\t', '\n', '\r':
			d.pos++
		default:
			return
		}
	}
}

func (d *decoder) end() bool {
	d.space()
	return d.pos == len(d.text)
}

// eat consumes one byte of punctuation, if it is next.
func (d *decoder) eat(c byte) bool {
	d.space()
	if d.pos < len(d.text) && d.text[d.pos] == c {
		d.pos++
		return true
	}
	return false
}

// str reads a string. Only one with escapes is copied.
func (d *decoder) str() (string, bool) {
	if !d.eat('"') {
		return "", false
	}
	start := d.pos
	escaped := false
	for ; d.pos < len(d.text); d.pos++ {
		switch c := d.text[d.pos]; {
		case c < ' ':
			return "", false
		case c == '\\':
			escaped = true
			d.pos++
		case c == '"':
			raw := d.text[start:d.pos]
			d.pos++
			if !escaped {
				return raw, true
			}
			var s string
			err := json.Unmarshal([]byte(d.text[start-1:d.pos]), &s)
			return s, err == nil
		}
	}
	return "", false
}

// strInto reads a string that may not be empty: no claim of ours is.
func (d *decoder) strInto(to *string) (ok bool) {
	*to, ok = d.str()
	return ok && *to != ""
}

// integer reads a whole number that is not negative, in plain decimal.
func (d *decoder) integer(to *int64) bool {
	d.space()
	start := d.pos
	var n int64
	for ; d.pos < len(d.text) && '0' <= d.text[d.pos] && d.text[d.pos] <= '9'; d.pos++ {
		if n = n*10 + int64(d.text[d.pos]-'0'); n >= maxInteger {
			return false
		}
	}
	digits := d.text[start:d.pos]
	*to = n
	return digits != "" && (digits == "0" || digits[0] != '0')
}

// list reads an array of strings that is not empty.
func (d *decoder) list(to *[]string) bool {
	if !d.eat('[') {
		return false
	}
	*to = make([]string, 0, 1+strings.Count(d.text[d.pos:], `","`))
	for {
		var s string
		if !d.strInto(&s) {
			return false
		}
		*to = append(*to, s)
		if !d.eat(',') {
			return d.eat(']')
		}
	}
}
