package identity

import "time"

// RevocationKind says what sort of thing is revoked.
type RevocationKind string

// The kinds of revocations, with the claim of a token that each looks at.
const (
	RevokedToken          RevocationKind = "token"           // jti
	RevokedServiceAccount RevocationKind = "service_account" // client_id, with a gen below
	RevokedCredential     RevocationKind = "credential"      // cred
	RevokedSigningKey     RevocationKind = "signing_key"     // kid
)

// RevocationLife is for how long a revocation of all tokens of something counts:
// no token that was issued before it lives longer. What is more than the longest
// lifetime is for a node whose clock is ahead.
const RevocationLife = MaxTokenLifetime + time.Minute

// Revocation is the early end of one token, or of all tokens of something.
type Revocation struct {
	Kind      RevocationKind
	ID        string
	Gen       int64  // of a service account: tokens of a lower one are dead
	Audience  string // of a token, where it is known
	RevokedAt time.Time
	ExpiresAt time.Time // when no token that it stops can live any more
}

// Concerns reports whether tokens for an audience may be stopped by it; "" is
// every audience.
func (r *Revocation) Concerns(audience string) bool {
	return audience == "" || r.Audience == "" || r.Audience == audience
}
