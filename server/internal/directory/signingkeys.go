package directory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// SigningKey is a key of tokens without its private part.
type SigningKey struct {
	KID            string
	Algorithm      string
	State          string // prepared, active, retired or revoked
	PublicJWK      []byte
	CreatedAt      time.Time
	ReadyAt        time.Time // when a rotation may promote it; zero unless it is prepared
	ActivatedAt    time.Time
	RetiredAt      time.Time
	PublishedUntil time.Time // zero unless it is retired
	RevokedAt      time.Time
}

func (s *Service) signingKey(k *store.SigningKey) SigningKey {
	return SigningKey{
		KID: k.ID, Algorithm: k.Algorithm, State: string(k.State), PublicJWK: k.PublicJWK,
		CreatedAt: k.CreatedAt, ReadyAt: s.keys.Policy().ReadyAt(k), ActivatedAt: k.ActivatedAt,
		RetiredAt: k.RetiredAt, PublishedUntil: keyring.PublishedUntil(k), RevokedAt: k.RevokedAt,
	}
}

// SigningKeyFilter narrows a list; zero members do not filter.
type SigningKeyFilter struct {
	Algorithm string
	State     string // prepared, active, retired or revoked
}

// ListSigningKeys lists the keys of tokens.
func (s *Service) ListSigningKeys(ctx context.Context, _ *token.Caller, filter SigningKeyFilter, ask PageRequest) (Page[SigningKey], error) {
	var f identity.Findings
	if filter.Algorithm != "" {
		f.SigningAlg("?algorithm", filter.Algorithm)
	}
	if states := keyStates(); filter.State != "" && !slices.Contains(states, filter.State) {
		f.Add("?state", "must be one of %s", strings.Join(states, ", "))
	}
	if err := f.Err(); err != nil {
		return Page[SigningKey]{}, err
	}
	// A kid is not parsed: what it begins with is the history of its making.
	l := list("signing keys", filter, func(position string) bool { return position != "" && len(position) <= maxKidLength })
	return viewPage(ctx, s, l, ask, func(r *store.Reader, at store.Page) ([]SigningKey, bool, error) {
		keys, more, err := r.TokenKeys(ctx, store.SigningKeyFilter{Algorithm: filter.Algorithm, State: store.KeyState(filter.State)}, at)
		out := make([]SigningKey, len(keys))
		for i := range keys {
			out[i] = s.signingKey(&keys[i])
		}
		return out, more, err
	}, func(k *SigningKey) string { return k.KID })
}

const maxKidLength = 64

func keyStates() []string {
	return []string{string(store.KeyPrepared), string(store.KeyActive), string(store.KeyRetired), string(store.KeyRevoked)}
}

// GetSigningKey reads one key of tokens.
func (s *Service) GetSigningKey(ctx context.Context, _ *token.Caller, kid string) (*SigningKey, error) {
	var out SigningKey
	err := s.store.View(ctx, func(r *store.Reader) error {
		key, err := readTokenKey(ctx, r, kid)
		if err == nil {
			out = s.signingKey(key)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// readTokenKey finds no key of checkpoints: whoever may revoke keys of tokens
// must not be able to make the audit log unverifiable.
func readTokenKey(ctx context.Context, r *store.Reader, kid string) (*store.SigningKey, error) {
	key, err := r.SigningKey(ctx, kid)
	if err != nil {
		return nil, err
	}
	if key.Use != store.KeyUseToken {
		return nil, fault.NotFound("signing key")
	}
	return key, nil
}

// SigningKeyRotation says which key is to be replaced.
type SigningKeyRotation struct {
	Algorithm         string // "" is ES256
	ExpectedActiveKID string
}

// RotateSigningKey lets the prepared key of an algorithm take over.
func (s *Service) RotateSigningKey(ctx context.Context, caller *token.Caller, meta Meta, in SigningKeyRotation) (*SigningKey, error) {
	if in.Algorithm == "" {
		in.Algorithm = identity.SigningAlgorithms()[0]
	}
	var f identity.Findings
	f.SigningAlg("/algorithm", in.Algorithm)
	if err := f.Err(); err != nil {
		return nil, err
	}
	alg := in.Algorithm
	// One at a time, and a look before: who is refused anyway must not cost a key
	// pair, of which one of RSA takes a good part of a request's time.
	select {
	case s.rotating <- struct{}{}:
		defer func() { <-s.rotating }()
	case <-ctx.Done():
		return nil, fault.Unavailable(context.Cause(ctx))
	}
	err := s.store.View(ctx, func(r *store.Reader) error { return s.keys.MayRotate(ctx, r, alg, in.ExpectedActiveKID) })
	if err != nil {
		return nil, err
	}
	next, err := s.keys.NewKey(alg)
	if err != nil {
		return nil, err
	}
	var out SigningKey
	err = s.change(ctx, caller, func(tx *store.Tx) error {
		done, err := s.keys.Rotate(ctx, tx, alg, in.ExpectedActiveKID, next)
		if err != nil {
			return err
		}
		e := event(caller, meta, "")
		e.Type, e.Subject, e.Details = described(keyring.RotatedEvent(alg, done))
		tx.Audit(e)
		active, err := tx.SigningKey(ctx, done.Active)
		if err == nil {
			out = s.signingKey(active)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// RevokeSigningKey ends a key and every token that it signed. On this node that
// holds when it returns, on the others within a second.
func (s *Service) RevokeSigningKey(ctx context.Context, caller *token.Caller, meta Meta, kid string) (*SigningKey, error) {
	next, err := s.successor(ctx, kid)
	if err != nil {
		return nil, err
	}
	var out SigningKey
	err = s.change(ctx, caller, func(tx *store.Tx) error {
		key, revoked, err := s.revokeSigningKey(ctx, tx, kid, next)
		if err != nil {
			return err
		}
		out = s.signingKey(key)
		if revoked != nil {
			e := event(caller, meta, "")
			e.Type, e.Subject, e.Details = described(*revoked)
			tx.Audit(e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// revokeSigningKey is the change itself. revoked says what was done; nil for a key
// that was revoked before.
func (s *Service) revokeSigningKey(ctx context.Context, tx *store.Tx, kid string, next *store.SigningKey) (key *store.SigningKey, revoked *audit.Event, err error) {
	if key, err = readTokenKey(ctx, tx.Reader, kid); err != nil {
		return nil, nil, err
	}
	was := key.State
	done, some, err := s.keys.Revoke(ctx, tx, key, next)
	if err != nil || !some {
		return key, nil, err
	}
	e := keyring.RevokedEvent(key, was, done)
	return key, &e, nil
}

// successor makes the key that the revocation of this one needs; nil when it
// needs none. A key that is retired or revoked stays so.
func (s *Service) successor(ctx context.Context, kid string) (next *store.SigningKey, err error) {
	var key *store.SigningKey
	err = s.store.View(ctx, func(r *store.Reader) (err error) {
		key, err = readTokenKey(ctx, r, kid)
		return err
	})
	if err != nil || key.State == store.KeyRetired || key.State == store.KeyRevoked {
		return nil, err
	}
	return s.keys.NewKey(key.Algorithm)
}
