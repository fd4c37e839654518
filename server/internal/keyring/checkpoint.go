package keyring

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
)

const (
	// CheckpointInterval is how often the heads of the audit chains are signed.
	CheckpointInterval = time.Minute
	// checkpointTimeout bounds one periodic attempt; the next comes anyway.
	checkpointTimeout = 10 * time.Second
	// checkpointAttempts: another node may take the number in between.
	checkpointAttempts = 4
	// clocksApart is how much the clocks of two nodes may differ without a head
	// being left out. Heads that have moved within it before the last
	// checkpoint are named again, which harms nothing.
	clocksApart = 2 * time.Hour
	// maxCheckpointSize holds the heads of 100,000 chains.
	maxCheckpointSize = 16 << 20
)

// Checkpointer signs the heads of all audit chains, with a key that signs
// nothing else: from then on the record up to there cannot be rewritten without
// that key. Every node runs one; each checkpoint follows the one before,
// whichever node made it.
type Checkpointer struct{ keys *Keyring }

// NewCheckpointer makes a checkpointer for the store of the keyring.
func NewCheckpointer(k *Keyring) *Checkpointer { return &Checkpointer{k} }

// Run makes a checkpoint every minute until ctx ends. It makes none at the end:
// that is for [Checkpointer.Checkpoint], once the last event is durable.
func (c *Checkpointer) Run(ctx context.Context) {
	ticker := c.keys.clock.NewTicker(CheckpointInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
			c.attempt(ctx)
		}
	}
}

func (c *Checkpointer) attempt(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkpointTimeout)
	defer cancel()
	if _, err := c.Checkpoint(ctx); err != nil {
		c.keys.log.LogAttrs(ctx, slog.LevelError, "no audit checkpoint could be signed; trying again in a minute", slog.Any("error", err))
	}
}

// Checkpoint signs the heads of the chains now. It is false when no chain has
// moved since the last checkpoint: then there is nothing to vouch for.
//
// A crash at any place leaves either the old state or a whole checkpoint.
func (c *Checkpointer) Checkpoint(ctx context.Context) (signed bool, err error) {
	for range checkpointAttempts {
		signed, err = c.try(ctx)
		if f := fault.From(err); f == nil || f.Kind != fault.KindConflict {
			break
		}
	}
	return signed, err
}

func (c *Checkpointer) try(ctx context.Context) (signed bool, err error) {
	key, err := c.keys.CheckpointSigner()
	if err != nil {
		return false, err
	}
	var last audit.SignedCheckpoint
	var heads []audit.Head
	var now time.Time
	err = c.keys.store.Maintain(ctx, func(m *store.Maintenance) (err error) {
		now = m.Now
		if last, err = m.LastCheckpoint(ctx); err != nil {
			return err
		}
		since := time.Time{}
		if last.Seq > 0 {
			since = last.At.Add(-clocksApart)
		}
		heads, err = m.Heads(ctx, since)
		return err
	})
	if err != nil || !c.moved(last, heads) {
		return false, err
	}
	// Signing happens between two transactions. Events that come meanwhile only
	// make the chains longer than what is signed here.
	next := audit.NewCheckpoint(last, now, heads)
	jws, err := jose.Sign(key, audit.CheckpointType, next.AppendCanonical(nil))
	if err != nil {
		return false, err
	}
	err = c.keys.store.Maintain(ctx, func(m *store.Maintenance) error {
		return m.InsertCheckpoint(ctx, next.Sealed(jws))
	})
	return err == nil, err
}

// moved reports whether a head is not what the last checkpoint says. A last
// checkpoint that does not open is for `audit verify` to report: here it only
// means that everything is signed anew.
func (c *Checkpointer) moved(last audit.SignedCheckpoint, heads []audit.Head) bool {
	if last.Seq == 0 {
		return len(heads) > 0
	}
	payload, err := c.keys.OpenCheckpoint(last.Signed)
	if err != nil {
		return true
	}
	doc, err := audit.ParseCheckpoint(payload)
	if err != nil {
		return true
	}
	known := make(map[audit.Head]bool, len(doc.Heads))
	for _, h := range doc.Heads {
		known[h] = true
	}
	for _, h := range heads {
		if !known[h] {
			return true
		}
	}
	return false
}

// OpenCheckpoint verifies a signed checkpoint and returns its payload. The keys
// are derived from private keys that the master key opens, so a key that
// somebody put into the database does not count. The error tells the reason:
// its reader is the operator who verifies the record.
func (k *Keyring) OpenCheckpoint(signed string) (payload []byte, err error) {
	keys := k.CheckpointKeys()
	m, err := jose.Parse(signed, jose.Rules{
		Typ: audit.CheckpointType, MaxSize: maxCheckpointSize,
		Keys: func(kid string) *jose.PublicKey { return keys[kid] },
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, jose.Reason(err))
	}
	return m.Payload, nil
}
