package keyring

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
)

const (
	pepperName = "pepper" // in sealed_secrets
	pepperSize = 32
)

// need is one key that must exist.
type need struct {
	use   store.KeyUse
	alg   jose.Algorithm
	state store.KeyState
}

// needs lists what an installation cannot work without. The prepared key is
// there so that a rotation finds one that verifiers have seen already.
func needs() []need {
	return []need{
		{store.KeyUseToken, jose.ES256, store.KeyActive},
		{store.KeyUseToken, jose.ES256, store.KeyPrepared},
		{store.KeyUseCheckpoint, jose.ES256, store.KeyActive},
	}
}

// Bootstrap makes the keys that are missing: on a new database all of them.
// Nodes that start at once agree, since write transactions run one after
// another and each looks again at what is there. A crash before the commit
// leaves nothing, one after it leaves everything.
func (k *Keyring) Bootstrap(ctx context.Context) error {
	// Made before the transaction, which must stay short.
	fresh, err := k.generate()
	if err != nil {
		return err
	}
	err = k.store.InTx(ctx, func(tx *store.Tx) error {
		if err := k.master.agree(ctx, tx.Reader); err != nil {
			return err
		}
		return fresh.insertMissing(ctx, tx)
	})
	if err != nil {
		return err
	}
	return k.Reload(ctx)
}

// supply is one of everything that may be missing.
type supply struct {
	keys   []store.SigningKey
	pepper store.Sealed
}

func (k *Keyring) generate() (*supply, error) {
	var out supply
	for _, n := range needs() {
		row, err := k.newKey(n)
		if err != nil {
			return nil, err
		}
		out.keys = append(out.keys, row)
	}
	var raw [pepperSize]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand stops the process instead
	sealed, err := k.master.Seal(PurposeSecret, pepperName, raw[:])
	if err != nil {
		return nil, fault.Internal(err)
	}
	out.pepper = sealed
	return &out, nil
}

// newKey generates and seals a key pair.
func (k *Keyring) newKey(n need) (store.SigningKey, error) {
	id := identity.NewID(identity.PrefixSigningKey, k.clock.Now())
	key, err := jose.GenerateKey(n.alg, id)
	if err != nil {
		return store.SigningKey{}, err
	}
	der, err := key.MarshalPKCS8()
	if err != nil {
		return store.SigningKey{}, err
	}
	sealed, err := k.master.Seal(purposeOf(n.use), id, der)
	clear(der)
	if err != nil {
		return store.SigningKey{}, fault.Internal(err)
	}
	return store.SigningKey{
		ID: id, Use: n.use, Algorithm: string(n.alg), State: n.state,
		PublicJWK: key.Public().JWK(), Private: sealed,
	}, nil
}

func (s *supply) insertMissing(ctx context.Context, tx *store.Tx) error {
	rows, err := tx.SigningKeys(ctx)
	if err != nil {
		return err
	}
	secrets, err := tx.SealedSecrets(ctx)
	if err != nil {
		return err
	}
	there := make(map[need]bool)
	for _, row := range rows {
		there[need{row.Use, jose.Algorithm(row.Algorithm), row.State}] = true
	}
	if _, ok := secrets[pepperName]; !ok {
		// The pepper is made together with the first key. If keys are there
		// without it, it was lost, and a new one would silently turn every
		// client secret into a wrong one.
		if len(rows) > 0 {
			return fault.Internal(fmt.Errorf("the sealed secret %s is gone from the database: restore it from a backup", pepperName))
		}
		if err := tx.InsertSealedSecret(ctx, pepperName, s.pepper); err != nil {
			return err
		}
		tx.Audit(audit.Event{
			Type: audit.SealedSecretCreated, Outcome: audit.Success,
			Actor: audit.ActorSystem, Subject: pepperName,
		})
	}
	for i, n := range needs() {
		if there[n] {
			continue
		}
		row := s.keys[i]
		row.CreatedAt = tx.Now
		if n.state == store.KeyActive {
			row.ActivatedAt = tx.Now
		}
		if err := tx.InsertSigningKey(ctx, &row); err != nil {
			return err
		}
		tx.Audit(audit.Event{
			Type: audit.SigningKeyCreated, Outcome: audit.Success,
			Actor: audit.ActorSystem, Subject: row.ID,
			Details: map[string]string{
				"use": string(n.use), "algorithm": string(n.alg), "state": string(n.state),
			},
		})
	}
	return nil
}
