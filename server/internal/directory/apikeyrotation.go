package directory

import (
	"context"
	"strconv"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// KeyRotation makes a new key for an old one, which ends by itself.
type KeyRotation struct {
	Overlap   *time.Duration // how long the old one still works: nil is DefaultOverlap, 0 ends it now
	ExpiresAt time.Time      // of the new key; zero: never
}

// RotateAPIKey makes a new key that gives what the old one gives, and shortens
// the life of the old one to the overlap; it never lengthens it.
//
// That nobody uses the old one any more is then read from the two last uses: the
// old one names the new one, which has been used since the old one was last.
func (s *Service) RotateAPIKey(ctx context.Context, caller *token.Caller, meta Meta, accountID, id string, in KeyRotation) (*IssuedAPIKey, error) {
	var f identity.Findings
	overlap := overlapOf(&f, in.Overlap)
	expiresAt := instant(in.ExpiresAt)
	f.Future("/expires_at", expiresAt, s.clock.Now())
	out := s.mintKey(identity.APIKey{})
	return onceSecret(ctx, s, caller, meta, whatAPIKey, f.Err(), func(tx *store.Tx) (*IssuedAPIKey, string, error) {
		account, err := readAccount(ctx, tx.Reader, accountID)
		if err != nil {
			return nil, "", err
		}
		old, err := readKey(ctx, tx.Reader, accountID, id)
		if err != nil {
			return nil, "", err
		}
		out.APIKey = identity.APIKey{
			ServiceAccountID: accountID, Name: old.Name, Hint: out.APIKey.Hint, MAC: out.APIKey.MAC,
			Restricted: old.Restricted, Permissions: old.Permissions, AllowedNetworks: old.AllowedNetworks, ExpiresAt: expiresAt,
		}
		if _, err := openKeys(ctx, tx, caller, account, &out.APIKey); err != nil {
			return nil, "", err
		}
		if end := instant(tx.Now.Add(overlap)); old.ExpiresAt.IsZero() || end.Before(old.ExpiresAt) {
			old.ExpiresAt = end
		}
		old.ReplacedBy = identity.NewID(identity.PrefixAPIKey, tx.Now)
		if err := tx.UpdateAPIKey(ctx, old); err != nil {
			return nil, "", err
		}
		have, err := allKeys(ctx, tx.Reader, accountID) // the old one may have ended by now
		if err != nil {
			return nil, "", err
		}
		// New and old change together: a crash leaves the old one as it was.
		if err := insertKey(ctx, tx, old.ReplacedBy, out, have); err != nil {
			return nil, "", err
		}
		e := keyEvent(caller, meta, audit.APIKeyRotated, &out.APIKey)
		e.Details["ends"] = old.ID
		e.Details["overlap_seconds"] = strconv.FormatInt(int64(overlap/time.Second), 10)
		tx.Audit(e)
		return out, out.APIKey.ID, nil
	})
}

// overlapOf checks how long what a rotation replaces still works.
func overlapOf(f *identity.Findings, asked *time.Duration) time.Duration {
	overlap := DefaultOverlap
	if asked != nil {
		overlap = *asked
	}
	if overlap < 0 || overlap > MaxOverlap {
		f.Add("/overlap", "must be 0 to %d seconds", int64(MaxOverlap/time.Second))
	}
	return overlap
}
