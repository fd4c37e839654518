package store

import (
	"context"
	"errors"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

var errRevokes = errors.New("store: a signing key is revoked by RevokeSigningKey only")

const (
	whatKey    = "signing key"
	whatSealed = "sealed secret"
)

// KeyState is a step in the life of a signing key.
type KeyState string

// The life of a key goes one way: prepared, active, retired, revoked.
const (
	KeyPrepared KeyState = "prepared"
	KeyActive   KeyState = "active"
	KeyRetired  KeyState = "retired"
	KeyRevoked  KeyState = "revoked"
)

// KeyUse is what a key signs.
type KeyUse string

// A key signs one kind of document only.
const (
	KeyUseToken      KeyUse = "token"
	KeyUseCheckpoint KeyUse = "checkpoint"
)

// Sealed is a ciphertext under envelope encryption: a data key that is wrapped
// by version MasterVersion of the master key. The store never sees inside.
type Sealed struct {
	MasterVersion int
	WrappedKey    []byte // nonce and ciphertext of the data key
	Ciphertext    []byte // nonce and ciphertext of the content
}

// SigningKey is one key as stored. Its ID is the kid.
type SigningKey struct {
	ID          string
	Use         KeyUse
	Algorithm   string
	State       KeyState
	PublicJWK   []byte
	Private     Sealed
	CreatedAt   time.Time
	ActivatedAt time.Time
	RetiredAt   time.Time
	RevokedAt   time.Time
	Version     int64
}

type keyRow struct {
	bun.BaseModel `bun:"table:signing_keys"`

	ID            string `bun:",pk"`
	KeyUse        string
	Algorithm     string
	State         string
	PublicJWK     []byte `bun:"public_jwk"`
	MasterVersion int64
	WrappedKey    []byte
	Ciphertext    []byte
	CreatedAt     int64
	ActivatedAt   int64
	RetiredAt     int64
	RevokedAt     int64
	Version       int64
}

func keyToRow(k *SigningKey) *keyRow {
	return &keyRow{
		ID: k.ID, KeyUse: string(k.Use), Algorithm: k.Algorithm, State: string(k.State), PublicJWK: k.PublicJWK,
		MasterVersion: int64(k.Private.MasterVersion), WrappedKey: k.Private.WrappedKey, Ciphertext: k.Private.Ciphertext,
		CreatedAt: micros(k.CreatedAt), ActivatedAt: micros(k.ActivatedAt), RetiredAt: micros(k.RetiredAt),
		RevokedAt: micros(k.RevokedAt), Version: k.Version,
	}
}

func (r *keyRow) key() SigningKey {
	return SigningKey{
		ID: r.ID, Use: KeyUse(r.KeyUse), Algorithm: r.Algorithm, State: KeyState(r.State), PublicJWK: r.PublicJWK,
		Private:   Sealed{int(r.MasterVersion), r.WrappedKey, r.Ciphertext},
		CreatedAt: fromMicros(r.CreatedAt), ActivatedAt: fromMicros(r.ActivatedAt), RetiredAt: fromMicros(r.RetiredAt),
		RevokedAt: fromMicros(r.RevokedAt), Version: r.Version,
	}
}

// SigningKeys are all keys ever made, oldest first.
func (r *Reader) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	var rows []keyRow
	if err := r.db.NewSelect().Model(&rows).Order("id").Scan(ctx); err != nil {
		return nil, translate(err)
	}
	keys := make([]SigningKey, len(rows))
	for i := range rows {
		keys[i] = rows[i].key()
	}
	return keys, nil
}

// SigningKeyFilter selects keys; zero members select all.
type SigningKeyFilter struct {
	Algorithm string
	State     KeyState
}

// TokenKeys lists the keys that sign tokens, whatever their state.
func (r *Reader) TokenKeys(ctx context.Context, f SigningKeyFilter, p Page) (items []SigningKey, more bool, err error) {
	if err := storable(f.Algorithm, string(f.State), p.After); err != nil {
		return nil, false, err
	}
	var rows []keyRow
	q := p.cut(r.db.NewSelect().Model(&rows).Where("key_use = ?", string(KeyUseToken)), "id")
	if f.Algorithm != "" {
		q = q.Where("algorithm = ?", f.Algorithm)
	}
	if f.State != "" {
		q = q.Where("state = ?", string(f.State))
	}
	if err := q.Scan(ctx); err != nil {
		return nil, false, translate(err)
	}
	return page(rows, p, func(r *keyRow) (SigningKey, error) { return r.key(), nil })
}

// SigningKeyIn is the one key of tokens with the algorithm that is prepared or
// active; NotFound when there is none.
func (r *Reader) SigningKeyIn(ctx context.Context, algorithm string, state KeyState) (*SigningKey, error) {
	keys, _, err := r.TokenKeys(ctx, SigningKeyFilter{algorithm, state}, Page{Size: 1})
	if err == nil && len(keys) == 0 {
		err = fault.NotFound(whatKey)
	}
	if err != nil {
		return nil, err
	}
	return &keys[0], nil
}

// SigningKey is one key, whatever its state.
func (r *Reader) SigningKey(ctx context.Context, id string) (*SigningKey, error) {
	if !known(id) {
		return nil, fault.NotFound(whatKey)
	}
	row := new(keyRow)
	if err := r.db.NewSelect().Model(row).Where("id = ?", id).Scan(ctx); err != nil {
		return nil, one(err, whatKey)
	}
	k := row.key()
	return &k, nil
}

// InsertSigningKey adds a key. One purpose and algorithm has at most one
// prepared and one active key: a further one is a Conflict.
func (tx *Tx) InsertSigningKey(ctx context.Context, k *SigningKey) error {
	if err := storable(k.ID, k.Algorithm); err != nil {
		return err
	}
	if err := tx.sealable(ctx, k.Private); err != nil {
		return err
	}
	k.Version, k.CreatedAt = 1, orNow(k.CreatedAt, tx.Now)
	if _, err := tx.db.NewInsert().Model(keyToRow(k)).Exec(ctx); err != nil {
		return keyConflict(translate(err))
	}
	tx.written(ChangedSigningKey, k.ID)
	return nil
}

// UpdateSigningKey writes state and times, provided that k.Version is the stored
// one. To promote, retire the active key first. It neither revokes a key nor
// touches a revoked one: see [Tx.RevokeSigningKey]. The private key is never
// written again, but for [Store.Rewrap]: what was read before a rotation of the
// master key would undo it.
func (tx *Tx) UpdateSigningKey(ctx context.Context, k *SigningKey) error {
	if k.State == KeyRevoked {
		return fault.Internal(errRevokes)
	}
	return tx.updateSigningKey(ctx, k)
}

// RevokeSigningKey ends a key for good, provided that k.Version is the stored
// one. No key is revoked in any other way.
func (tx *Tx) RevokeSigningKey(ctx context.Context, k *SigningKey) error {
	k.State, k.RevokedAt = KeyRevoked, tx.Now
	if err := tx.updateSigningKey(ctx, k); err != nil {
		return err
	}
	return tx.revoked(ctx, identity.RevokedSigningKey, k.ID, 0)
}

func (tx *Tx) updateSigningKey(ctx context.Context, k *SigningKey) error {
	row := keyToRow(k)
	row.Version++
	err := guarded(ctx, tx.db.NewUpdate().Model(row).
		Column("state", "activated_at", "retired_at", "revoked_at", "version").
		Where("id = ?", k.ID).Where("version = ?", k.Version).Where("state <> ?", string(KeyRevoked)),
		func() error { _, err := tx.SigningKey(ctx, k.ID); return err })
	if err != nil {
		return keyConflict(err)
	}
	k.Version = row.Version
	tx.written(ChangedSigningKey, k.ID)
	return nil
}

func keyConflict(err error) error {
	if errors.As(err, new(uniqueViolation)) {
		return fault.New(fault.KindConflict, fault.CodePreconditionFailed, "another signing key has that place already").Because(err)
	}
	return err
}

type sealedRow struct {
	bun.BaseModel `bun:"table:sealed_secrets"`

	Name          string `bun:",pk"`
	MasterVersion int64
	WrappedKey    []byte
	Ciphertext    []byte
}

// SealedSecret is a secret of the server's own, such as the pepper.
func (r *Reader) SealedSecret(ctx context.Context, name string) (*Sealed, error) {
	row := new(sealedRow)
	if err := r.db.NewSelect().Model(row).Where("name = ?", name).Scan(ctx); err != nil {
		return nil, one(err, whatSealed)
	}
	return &Sealed{int(row.MasterVersion), row.WrappedKey, row.Ciphertext}, nil
}

// SealedSecrets are all of them by name.
func (r *Reader) SealedSecrets(ctx context.Context) (map[string]Sealed, error) {
	var rows []sealedRow
	if err := r.db.NewSelect().Model(&rows).Scan(ctx); err != nil {
		return nil, translate(err)
	}
	out := make(map[string]Sealed, len(rows))
	for _, row := range rows {
		out[row.Name] = Sealed{int(row.MasterVersion), row.WrappedKey, row.Ciphertext}
	}
	return out, nil
}

// InsertSealedSecret adds one. Conflict when the name is there already.
func (tx *Tx) InsertSealedSecret(ctx context.Context, name string, v Sealed) error {
	if err := tx.sealable(ctx, v); err != nil {
		return err
	}
	row := sealedRow{Name: name, MasterVersion: int64(v.MasterVersion), WrappedKey: v.WrappedKey, Ciphertext: v.Ciphertext}
	if _, err := tx.db.NewInsert().Model(&row).Exec(ctx); err != nil {
		return nameTaken(translate(err), "name")
	}
	tx.wrote = true
	return nil
}
