package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

type tokenRevocationRow struct {
	bun.BaseModel `bun:"table:token_revocations"`

	TokenID          string `bun:",pk"`
	ServiceAccountID string
	RevokedAt        int64
	ExpiresAt        int64
	Audience         string
}

type revocationRow struct {
	bun.BaseModel `bun:"table:revocations"`

	Kind      string `bun:",pk"`
	Ref       string `bun:",pk"`
	Gen       int64
	RevokedAt int64
	ExpiresAt int64
}

func (r *revocationRow) revocation() identity.Revocation {
	return identity.Revocation{
		Kind: identity.RevocationKind(r.Kind), ID: r.Ref, Gen: r.Gen,
		RevokedAt: fromMicros(r.RevokedAt), ExpiresAt: fromMicros(r.ExpiresAt),
	}
}

const whatRevocation = "revocation"

// TokenRevocation is the early end of one token.
type TokenRevocation struct {
	TokenID   string
	AccountID string
	Audience  string // "" where it is not known
	RevokedAt time.Time
	ExpiresAt time.Time
}

// Revocation is what verifiers are told of it.
func (r *TokenRevocation) Revocation() identity.Revocation {
	return identity.Revocation{
		Kind: identity.RevokedToken, ID: r.TokenID, Audience: r.Audience, RevokedAt: r.RevokedAt, ExpiresAt: r.ExpiresAt,
	}
}

// TokenRevocation is the revocation of a token; NotFound if it was not revoked,
// or expired so long ago that nobody needs to know.
func (r *Reader) TokenRevocation(ctx context.Context, jti string) (*TokenRevocation, error) {
	const what = "revoked token"
	if !known(jti) {
		return nil, fault.NotFound(what)
	}
	row := new(tokenRevocationRow)
	if err := r.db.NewSelect().Model(row).Where("token_id = ?", jti).Scan(ctx); err != nil {
		return nil, one(err, what)
	}
	return &TokenRevocation{row.TokenID, row.ServiceAccountID, row.Audience, fromMicros(row.RevokedAt), fromMicros(row.ExpiresAt)}, nil
}

// Revocation is the revocation of all tokens of something; NotFound if there is
// none, or nobody needs to know any more.
func (r *Reader) Revocation(ctx context.Context, kind identity.RevocationKind, id string) (*identity.Revocation, error) {
	if !known(id) {
		return nil, fault.NotFound(whatRevocation)
	}
	row := new(revocationRow)
	if err := r.db.NewSelect().Model(row).Where("kind = ?", string(kind)).Where("ref = ?", id).Scan(ctx); err != nil {
		return nil, one(err, whatRevocation)
	}
	found := row.revocation()
	return &found, nil
}

// RevokeToken ends one token. revoked is false when it already was. An audience
// that is not known is "".
func (tx *Tx) RevokeToken(ctx context.Context, jti, accountID, audience string, expiresAt time.Time) (revoked bool, err error) {
	if _, ok := parseTokenID(jti); !ok {
		return false, fault.Invalid("this is not the id of a token")
	}
	if err := storable(accountID, audience); err != nil {
		return false, err
	}
	row := tokenRevocationRow{
		TokenID: jti, ServiceAccountID: accountID, Audience: audience, RevokedAt: micros(tx.Now), ExpiresAt: micros(expiresAt),
	}
	n, err := affected(ctx, tx.db.NewInsert().Model(&row).On("CONFLICT (token_id) DO NOTHING"))
	if err != nil || n == 0 {
		return false, err
	}
	tx.wrote = true
	tx.Changed(announceRevocation(&identity.Revocation{
		Kind: identity.RevokedToken, ID: jti, Audience: audience, ExpiresAt: expiresAt,
	}))
	return true, nil
}

// revoked ends all tokens of something that were issued so far. Whatever in this
// package ends a credential, a signing key or a generation calls it, in the
// transaction that does so: who forgot it would leave verifiers that follow the
// feed believing in dead tokens.
func (tx *Tx) revoked(ctx context.Context, kind identity.RevocationKind, id string, gen int64) error {
	r := &identity.Revocation{Kind: kind, ID: id, Gen: gen, RevokedAt: tx.Now, ExpiresAt: tx.Now.Add(identity.RevocationLife)}
	if err := putRevocation(ctx, tx.db, r); err != nil {
		return err
	}
	tx.wrote = true
	tx.Changed(announceRevocation(r))
	return nil
}

// putRevocation keeps the latest revocation of a thing: it stops all that the
// ones before it stop.
func putRevocation(ctx context.Context, db bun.IDB, r *identity.Revocation) error {
	row := revocationRow{Kind: string(r.Kind), Ref: r.ID, Gen: r.Gen, RevokedAt: micros(r.RevokedAt), ExpiresAt: micros(r.ExpiresAt)}
	_, err := db.NewInsert().Model(&row).On("CONFLICT (kind, ref) DO UPDATE").
		Set("gen = EXCLUDED.gen").Set("revoked_at = EXCLUDED.revoked_at").Set("expires_at = EXCLUDED.expires_at").Exec(ctx)
	if err != nil {
		return translate(err)
	}
	_, err = db.NewDelete().Model((*aheadRow)(nil)).Where("kind = ?", row.Kind).Where("ref = ?", row.Ref).Exec(ctx)
	return translate(err)
}

// TokenRevoked reports whether the token with that jti has been revoked. It
// asks memory only: see [Store.Fresh].
func (s *Store) TokenRevoked(jti string) bool {
	id, ok := parseTokenID(jti)
	return ok && s.revocations.has(id)
}
