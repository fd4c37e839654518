package keyring

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
)

const (
	// keepEvery is how often the keeper looks, in memory, whether there is
	// something to do.
	keepEvery = time.Second
	// keepAgain is how long it leaves a database alone that has failed it.
	keepAgain   = 10 * time.Second
	keepTimeout = 10 * time.Second
)

// Keeper takes the steps in the life of keys that come with time: it rotates by
// schedule, lets an algorithm that was chosen begin once its first key is ready,
// makes a prepared key that is missing, and takes retired keys out of the key
// set. Every node runs one. What is due is judged from memory and judged again
// in the transaction that does it, so that one of the nodes does it.
type Keeper struct {
	keys  *Keyring
	pause time.Time // nothing is tried before
}

// NewKeeper makes the keeper of a keyring.
func NewKeeper(k *Keyring) *Keeper { return &Keeper{keys: k} }

// Run keeps the keys until ctx ends.
func (p *Keeper) Run(ctx context.Context) {
	ticker := p.keys.clock.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
			p.attempt(ctx)
		}
	}
}

func (p *Keeper) attempt(ctx context.Context) {
	p.keys.withdraw() // needs no database, and waits for none
	if p.keys.clock.Now().Before(p.pause) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	if err := p.Keep(ctx); err != nil {
		p.pause = p.keys.clock.Now().Add(keepAgain)
		p.keys.log.LogAttrs(ctx, slog.LevelError, "the signing keys could not be kept up; trying again", slog.Any("error", err))
	}
}

// Keep does what is due now.
func (p *Keeper) Keep(ctx context.Context) error {
	p.keys.withdraw()
	var failed []error
	for _, alg := range jose.Algorithms() {
		s := p.keys.current.Load()
		if !s.uses(alg) || p.keys.due(s.pairs[alg], p.keys.clock.Now()) == stepNone {
			continue
		}
		failed = append(failed, p.step(ctx, string(alg)))
	}
	return errors.Join(failed...)
}

// step takes the step that is due for the algorithm, if no other node has.
func (p *Keeper) step(ctx context.Context, alg string) error {
	next, err := p.keys.NewKey(alg)
	if err != nil {
		return err
	}
	return p.keys.store.InTx(ctx, func(tx *store.Tx) error {
		keys, err := pairOf(ctx, tx.Reader, alg)
		if err != nil {
			return err
		}
		switch p.keys.due(*keys, tx.Now) {
		case stepPrepare:
			done, err := p.keys.prepare(ctx, tx, next)
			if err != nil {
				return err
			}
			tx.Audit(CreatedEvent(alg, done.Prepared))
		case stepRotate:
			done, err := p.keys.succeed(ctx, tx, keys, next)
			if err != nil {
				return err
			}
			tx.Audit(RotatedEvent(alg, done))
		}
		return nil
	})
}

// step is what an algorithm's keys need.
type step uint8

const (
	stepNone step = iota
	stepPrepare
	stepRotate
)

// due says which step the keys of an algorithm in use need now.
func (k *Keyring) due(keys pair, now time.Time) step {
	if keys.prepared == nil {
		return stepPrepare
	}
	if now.Before(k.policy.ReadyAt(keys.prepared)) {
		return stepNone
	}
	every := k.policy.RotationInterval
	if keys.active == nil || every > 0 && !now.Before(keys.active.ActivatedAt.Add(every)) {
		return stepRotate
	}
	return stepNone
}
