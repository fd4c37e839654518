package store

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

const whatFirstAnswer = "idempotency key"

// idempotencyRetained is how long a request is known again.
const idempotencyRetained = 24 * time.Hour

// FirstAnswer is what the first request with a key was answered.
type FirstAnswer struct {
	AccountID string // whose key it is
	Key       identity.RequestKey
	Subject   string // the id of what was made or changed
	Result    string // JSON of the answer; "" where that must not be kept
	CreatedAt time.Time
}

type idempotencyRow struct {
	bun.BaseModel `bun:"table:idempotency_keys"`

	ServiceAccountID string `bun:",pk"`
	Operation        string `bun:",pk"`
	Key              string `bun:",pk"`
	Digest           []byte
	Subject          string
	Result           string
	CreatedAt        int64
}

// FirstAnswer is the first answer to a request with this key of the account;
// NotFound when there was none, or it is too long ago. The digest of key does
// not matter: whoever asks compares it.
func (r *Reader) FirstAnswer(ctx context.Context, accountID string, key identity.RequestKey) (*FirstAnswer, error) {
	if !known(accountID) || !known(key.Operation) || !known(key.Key) {
		return nil, fault.NotFound(whatFirstAnswer)
	}
	row := new(idempotencyRow)
	err := r.db.NewSelect().Model(row).Where("service_account_id = ?", accountID).
		Where("operation = ?", key.Operation).Where("? = ?", bun.Ident("key"), key.Key).Scan(ctx)
	if err != nil {
		return nil, one(err, whatFirstAnswer)
	}
	a := &FirstAnswer{
		AccountID: row.ServiceAccountID, Key: identity.RequestKey{Operation: row.Operation, Key: row.Key},
		Subject: row.Subject, Result: row.Result, CreatedAt: fromMicros(row.CreatedAt),
	}
	if copy(a.Key.Digest[:], row.Digest) != len(a.Key.Digest) || len(row.Digest) != len(a.Key.Digest) {
		return nil, fault.Internal(errSizeOf("digest", row.Subject))
	}
	return a, nil
}

// InsertFirstAnswer keeps the answer to the request whose effect this same
// transaction has: a crash leaves both or neither. No cache holds it and no other
// node needs to be told, since each looks here, in its turn to write.
func (tx *Tx) InsertFirstAnswer(ctx context.Context, a *FirstAnswer) error {
	if err := storable(a.AccountID, a.Key.Operation, a.Key.Key, a.Subject, a.Result); err != nil {
		return err
	}
	a.CreatedAt = tx.Now
	row := idempotencyRow{
		ServiceAccountID: a.AccountID, Operation: a.Key.Operation, Key: a.Key.Key, Digest: a.Key.Digest[:],
		Subject: a.Subject, Result: a.Result, CreatedAt: micros(a.CreatedAt),
	}
	if _, err := tx.db.NewInsert().Model(&row).Exec(ctx); err != nil {
		return translate(err)
	}
	tx.wrote = true
	return nil
}
