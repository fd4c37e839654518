package keyring

import (
	"context"
	"errors"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
)

// The steps in the life of keys. Each is a part of the caller's transaction, in
// which it looks at what is there: write transactions run one after another on
// all nodes, so of many who want the same step one takes it. A step that is to
// leave a prepared key behind is given it, made by [Keyring.NewKey] before the
// transaction, which must stay short: generating an RSA key takes its time.
//
// A crash before the commit leaves the old state, one after it the new.

var errNoSpare = errors.New("keyring: a step in the life of a key needs another one, and was given none")

// NewKey makes a key pair of tokens, to become a prepared one.
func (k *Keyring) NewKey(alg string) (*store.SigningKey, error) {
	row, err := k.newKey(need{store.KeyUseToken, jose.Algorithm(alg), store.KeyPrepared})
	if err != nil {
		return nil, err
	}
	return &row, nil
}

// Succession is what a rotation or a revocation did to an algorithm's keys. Ids
// are empty where nothing was done.
type Succession struct {
	Active   string // the one that signs from now on
	Previous string // the one that signed until now
	Prepared string // the one that was made to be next
}

// Rotate lets the prepared key of the algorithm take over from the active one,
// which must be the one that is expected, once every verifier can know it.
func (k *Keyring) Rotate(ctx context.Context, tx *store.Tx, alg string, expectedActive string, next *store.SigningKey) (*Succession, error) {
	keys, err := pairOf(ctx, tx.Reader, alg)
	if err != nil {
		return nil, err
	}
	if err := k.mayRotate(keys, tx.Now, expectedActive); err != nil {
		return nil, err
	}
	return k.succeed(ctx, tx, keys, next)
}

// MayRotate is the error that Rotate would give, without doing anything.
func (k *Keyring) MayRotate(ctx context.Context, r *store.Reader, alg string, expectedActive string) error {
	keys, err := pairOf(ctx, r, alg)
	if err != nil {
		return err
	}
	return k.mayRotate(keys, k.clock.Now(), expectedActive)
}

func (k *Keyring) mayRotate(keys *pair, now time.Time, expectedActive string) error {
	if keys.active == nil || keys.active.ID != expectedActive {
		return fault.New(fault.KindConflict, fault.CodeActiveKeyChanged,
			"the active key of the algorithm is not the expected one: read the signing keys, and rotate only if it is still needed")
	}
	if keys.prepared == nil { // the keeper is about to make it
		return fault.New(fault.KindConflict, fault.CodeSigningKeyNotReady, "the algorithm has no prepared key yet").
			After(k.policy.readyAt(now).Sub(now))
	}
	if wait := k.policy.ReadyAt(keys.prepared).Sub(now); wait > 0 {
		return fault.New(fault.KindConflict, fault.CodeSigningKeyNotReady,
			"verifiers may not know the prepared key yet: it can become the active one at its ready_at").After(wait)
	}
	return nil
}

// Revoke ends a key of tokens at once. If it was the active one, the prepared
// one takes its place whatever its age: verifiers that do not know it yet ask
// for it, and tokens that nobody can forge matter more. It reports false when
// the key was revoked before.
func (k *Keyring) Revoke(ctx context.Context, tx *store.Tx, key, next *store.SigningKey) (*Succession, bool, error) {
	was := key.State
	if was == store.KeyRevoked {
		return nil, false, nil
	}
	keys, err := pairOf(ctx, tx.Reader, key.Algorithm)
	if err != nil {
		return nil, false, err
	}
	if err := tx.RevokeSigningKey(ctx, key); err != nil {
		return nil, false, err
	}
	var done *Succession
	switch was {
	case store.KeyActive:
		keys.active = nil
		done, err = k.succeed(ctx, tx, keys, next)
	case store.KeyPrepared:
		done, err = k.prepare(ctx, tx, next)
	default:
		done = new(Succession)
	}
	return done, err == nil, err
}

// Prepare gives an algorithm that has no key yet its first one. It tells which
// that is, "" when there is one already, and whether the algorithm signs: it
// does not before its first key is ready.
func (k *Keyring) Prepare(ctx context.Context, tx *store.Tx, alg string, next *store.SigningKey) (prepared string, signs bool, err error) {
	keys, err := pairOf(ctx, tx.Reader, alg)
	if err != nil || keys.active != nil || keys.prepared != nil {
		return "", keys != nil && keys.active != nil, err
	}
	done, err := k.prepare(ctx, tx, next)
	if err != nil {
		return "", false, err
	}
	return done.Prepared, false, nil
}

// pair is the keys of one algorithm that matter to what comes next; either may
// be nil.
type pair struct{ active, prepared *store.SigningKey }

func pairOf(ctx context.Context, r *store.Reader, alg string) (*pair, error) {
	out := new(pair)
	for state, to := range map[store.KeyState]**store.SigningKey{store.KeyActive: &out.active, store.KeyPrepared: &out.prepared} {
		key, err := r.SigningKeyIn(ctx, alg, state)
		if err != nil && !fault.Is(err, fault.CodeNotFound) {
			return nil, err
		}
		*to = key
	}
	return out, nil
}

// succeed retires the active key, if there is one, promotes the prepared one
// and prepares the next. Without a prepared key the next one signs at once, and
// the keeper prepares another.
func (k *Keyring) succeed(ctx context.Context, tx *store.Tx, keys *pair, next *store.SigningKey) (*Succession, error) {
	if next == nil {
		return nil, fault.Internal(errNoSpare)
	}
	done := new(Succession)
	if old := keys.active; old != nil {
		old.State, old.RetiredAt = store.KeyRetired, tx.Now
		if err := tx.UpdateSigningKey(ctx, old); err != nil {
			return nil, err
		}
		done.Previous = old.ID
	}
	if keys.prepared == nil {
		next.State, next.ActivatedAt, next.CreatedAt = store.KeyActive, tx.Now, tx.Now
		done.Active = next.ID
		return done, k.insert(ctx, tx, next)
	}
	heir := keys.prepared
	heir.State, heir.ActivatedAt = store.KeyActive, tx.Now
	if err := tx.UpdateSigningKey(ctx, heir); err != nil {
		return nil, err
	}
	done.Active = heir.ID
	further, err := k.prepare(ctx, tx, next)
	if err != nil {
		return nil, err
	}
	done.Prepared = further.Prepared
	return done, nil
}

func (k *Keyring) prepare(ctx context.Context, tx *store.Tx, next *store.SigningKey) (*Succession, error) {
	if next == nil {
		return nil, fault.Internal(errNoSpare)
	}
	next.State, next.CreatedAt = store.KeyPrepared, tx.Now
	return &Succession{Prepared: next.ID}, k.insert(ctx, tx, next)
}

// insert adds a key that was sealed before the transaction began.
func (k *Keyring) insert(ctx context.Context, tx *store.Tx, key *store.SigningKey) error {
	if err := k.master.agree(ctx, tx.Reader); err != nil {
		return fault.Internal(err)
	}
	return tx.InsertSigningKey(ctx, key)
}

// RotatedEvent says what a rotation did; who asked for it is the caller's part.
func RotatedEvent(alg string, done *Succession) audit.Event {
	return audit.Event{
		Type: audit.SigningKeyRotated, Outcome: audit.Success, Actor: audit.ActorSystem, Subject: done.Active,
		Details: details(alg, map[string]string{"previous": done.Previous, "prepared": done.Prepared}),
	}
}

// CreatedEvent says that a key was prepared.
func CreatedEvent(alg string, kid string) audit.Event {
	return audit.Event{
		Type: audit.SigningKeyCreated, Outcome: audit.Success, Actor: audit.ActorSystem, Subject: kid,
		Details: details(alg, map[string]string{"use": string(store.KeyUseToken), "state": string(store.KeyPrepared)}),
	}
}

// RevokedEvent says what a revocation did; who asked for it is the caller's part.
func RevokedEvent(key *store.SigningKey, was store.KeyState, done *Succession) audit.Event {
	return audit.Event{
		Type: audit.SigningKeyRevoked, Outcome: audit.Success, Actor: audit.ActorSystem, Subject: key.ID,
		Details: details(key.Algorithm, map[string]string{
			"state": string(was), "promoted": done.Active, "prepared": done.Prepared,
		}),
	}
}

func details(alg string, d map[string]string) map[string]string {
	out := map[string]string{"algorithm": alg}
	for name, v := range d {
		if v != "" {
			out[name] = v
		}
	}
	return out
}
