package token

import (
	"strings"
	"time"
)

// Claims are the claims of an access token (RFC 9068 section 2.2), with ours:
// gen, the account's revocation generation when it was issued, and cred, the id
// of the credential that earned it. Times are whole seconds (RFC 7519
// NumericDate), since a fraction would be lost on the way anyway.
type Claims struct {
	Issuer       string
	Subject      string
	ClientID     string
	Audience     string
	IssuedAt     int64
	NotBefore    int64
	ExpiresAt    int64
	TokenID      string
	Scope        string
	Roles        []string
	Gen          int64
	CredentialID string
}

// Scopes is the scope claim as a list.
func (c *Claims) Scopes() []string { return strings.Fields(c.Scope) }

// Expires is the exp claim as a time.
func (c *Claims) Expires() time.Time { return time.Unix(c.ExpiresAt, 0).UTC() }
