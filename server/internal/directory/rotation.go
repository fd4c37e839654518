package directory

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// How long old secrets work beside the new one.
const (
	DefaultOverlap = 24 * time.Hour
	MaxOverlap     = 30 * 24 * time.Hour
)

// Rotation makes a new secret and lets old ones end by themselves, so that no
// second step can be forgotten.
type Rotation struct {
	Overlap   *time.Duration // how long the old ones still work: nil is DefaultOverlap, 0 ends them now
	SecretIDs []string       // the old ones that end; empty: all that are live
	ExpiresAt time.Time      // of the new secret; zero: never
}

// RotateClientSecret makes a new secret and shortens the life of old ones to
// the overlap; it never lengthens one.
func (s *Service) RotateClientSecret(ctx context.Context, caller *token.Caller, meta Meta, accountID string, in Rotation) (*IssuedSecret, error) {
	var f identity.Findings
	overlap := overlapOf(&f, in.Overlap)
	invalid := f.Err()
	var out *IssuedSecret
	if invalid == nil {
		out, invalid = s.mint(accountID, in.ExpiresAt)
	}
	return onceSecret(ctx, s, caller, meta, whatSecret, invalid, func(tx *store.Tx) (*IssuedSecret, string, error) {
		have, err := openSecrets(ctx, tx, caller, accountID)
		if err != nil {
			return nil, "", err
		}
		ending, err := chosen(have, in.SecretIDs, tx.Now)
		if err != nil {
			return nil, "", err
		}
		end := instant(tx.Now.Add(overlap))
		id := identity.NewID(identity.PrefixClientSecret, tx.Now)
		var ended []string
		for _, i := range ending {
			c := &have[i]
			if c.ExpiresAt.IsZero() || end.Before(c.ExpiresAt) {
				c.ExpiresAt = end
			}
			if err := tx.SetClientSecretSuccessor(ctx, accountID, c.ID, id, c.ExpiresAt); err != nil {
				return nil, "", err
			}
			ended = append(ended, c.ID)
		}
		if countLive(have, tx.Now) >= MaxLiveSecrets {
			return nil, "", tooManySecrets()
		}
		// New and old change together: a crash leaves the old ones as they were.
		if err := insertSecret(ctx, tx, id, out, have); err != nil {
			return nil, "", err
		}
		e := secretEvent(caller, meta, audit.ClientSecretRotated, &out.ClientSecret)
		e.Details["ends"] = joined(ended)
		e.Details["overlap_seconds"] = strconv.FormatInt(int64(overlap/time.Second), 10)
		tx.Audit(e)
		return out, out.ClientSecret.ID, nil
	})
}

// chosen gives the places of the live secrets that a rotation ends.
func chosen(have []identity.ClientSecret, ids []string, now time.Time) ([]int, error) {
	var out []int
	if len(ids) == 0 {
		for i := range have {
			if have[i].Live(now) {
				out = append(out, i)
			}
		}
		return out, nil
	}
	var f identity.Findings
	for n, id := range ids {
		i := slices.IndexFunc(have, func(c identity.ClientSecret) bool { return c.ID == id && c.Live(now) })
		switch {
		case i < 0:
			f.Add("/client_secrets/"+strconv.Itoa(n), "is no live client secret of this service account")
		case !slices.Contains(out, i):
			out = append(out, i)
		}
	}
	return out, f.Err()
}
