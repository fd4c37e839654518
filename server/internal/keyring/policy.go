package keyring

import (
	"time"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// Policy says how long the steps in the life of a key take.
type Policy struct {
	// MaxAge is how long a verifier may go by the key set that it has (RFC 9111
	// section 5.2.2.1).
	MaxAge time.Duration
	// RotationInterval is how long a key signs before the next one takes over by
	// itself; zero: until somebody asks for it.
	RotationInterval time.Duration
}

// DefaultPolicy is in force where nothing else is configured.
func DefaultPolicy() Policy {
	return Policy{MaxAge: 5 * time.Minute, RotationInterval: 30 * 24 * time.Hour}
}

const (
	// grace is how much longer than MaxAge a key must have been published before
	// it signs: for nodes that learn of it a moment later, clocks that differ,
	// answers that are on their way. Where MaxAge is below 5 minutes it is a
	// fifth of it, so that both shrink alike.
	grace = time.Minute
	// verifierSkew is how much a verifier's clock may lag behind ours.
	verifierSkew = time.Minute
)

// readyAt is when a key made then may become the active one: no verifier that
// honours MaxAge has a key set without it any more.
func (p Policy) readyAt(created time.Time) time.Time {
	return created.Add(p.MaxAge + min(grace, p.MaxAge/5))
}

// ReadyAt is when a rotation may promote the key; zero when it is not prepared.
func (p Policy) ReadyAt(key *store.SigningKey) time.Time {
	if key.State != store.KeyPrepared {
		return time.Time{}
	}
	return p.readyAt(key.CreatedAt)
}

// PublishedUntil is when a retired key leaves the key set: when the last token
// that it can have signed has expired. That counts the longest lifetime that any
// setting allows, since the setting of today may not be that of yesterday. It is
// zero for a key that is not retired.
func PublishedUntil(key *store.SigningKey) time.Time {
	if key.State != store.KeyRetired || key.RetiredAt.IsZero() {
		return time.Time{}
	}
	return key.RetiredAt.Add(identity.MaxTokenLifetime + verifierSkew)
}

// withdrawn reports whether the key has left the key set by then.
func withdrawn(key *store.SigningKey, now time.Time) bool {
	until := PublishedUntil(key)
	return !until.IsZero() && !now.Before(until)
}
