package directory

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// once makes a change that a request with a key ([identity.RequestKey]) makes
// once, however often it is sent: fn runs in the transaction, gives what it has
// made with its id, and the answer is kept with the key in that same transaction.
// A crash, or a commit of which nobody learns how it ended, leaves both or
// neither. The request that is sent again gets the first answer, as it was then,
// whatever has become of the thing since; it writes nothing and records nothing.
// A request that fails keeps nothing, so that it may be sent again under its key.
//
// Whether the caller may call at all is settled before, here as in every change:
// who has lost the right, or does not stand any more, gets no old answer either.
//
// invalid is what is wrong with the request by itself. It is told only when there
// is no first answer: what was right then, such as an end that was still to come,
// need not be right now.
//
// Two requests with one key at once: on this node the second is told that the
// first is running. On another node it waits for its turn, since write
// transactions run one after another across nodes, and then finds the answer.
// Nothing about running requests is stored, so that no crash can leave a key
// locked.
func once[T any](
	ctx context.Context, s *Service, caller *token.Caller, meta Meta, invalid error,
	fn func(tx *store.Tx) (out *T, id string, err error),
) (*T, error) {
	var out *T
	err := s.changeOnce(ctx, caller, meta, invalid, func(first *store.FirstAnswer) error {
		// Nodes of two releases agree on the members of these types for as long as
		// a key is kept.
		out = new(T)
		return json.Unmarshal([]byte(first.Result), out)
	}, func(tx *store.Tx) (id string, result any, err error) {
		out, id, err = fn(tx)
		return id, out, err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// onceSecret is [once] for what holds the text of a secret, which is never kept:
// only the id is, and the request that is sent again is told that.
func onceSecret[T any](
	ctx context.Context, s *Service, caller *token.Caller, meta Meta, what string, invalid error,
	fn func(tx *store.Tx) (out *T, id string, err error),
) (*T, error) {
	var out *T
	err := s.changeOnce(ctx, caller, meta, invalid, func(first *store.FirstAnswer) error {
		return fault.SecretAlreadyIssued(what, first.Subject)
	}, func(tx *store.Tx) (id string, result any, err error) {
		out, id, err = fn(tx)
		return id, nil, err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// changeOnce is change with a key: answered tells the first answer again, fn
// makes the change and gives what to keep of the answer, nil for nothing.
func (s *Service) changeOnce(
	ctx context.Context, caller *token.Caller, meta Meta, invalid error,
	answered func(first *store.FirstAnswer) error, fn func(tx *store.Tx) (id string, result any, err error),
) error {
	if meta.Key.Key == "" {
		if invalid != nil {
			return invalid
		}
		return s.change(ctx, caller, func(tx *store.Tx) error {
			_, _, err := fn(tx)
			return err
		})
	}
	leave, err := s.running.enter(heldKey{caller.ClientID, meta.Key.Operation, meta.Key.Key})
	if err != nil {
		return err
	}
	defer leave()
	return s.change(ctx, caller, func(tx *store.Tx) error {
		first, err := tx.FirstAnswer(ctx, caller.ClientID, meta.Key)
		switch {
		case err == nil && first.Key.Digest != meta.Key.Digest:
			return fault.KeyReused()
		case err == nil:
			return answered(first)
		case !fault.Is(err, fault.CodeNotFound):
			return err
		case invalid != nil:
			return invalid
		}
		id, result, err := fn(tx)
		if err != nil {
			return err
		}
		return keep(ctx, tx, caller, meta.Key, id, result)
	})
}

// keep keeps an answer.
func keep(ctx context.Context, tx *store.Tx, caller *token.Caller, key identity.RequestKey, id string, result any) error {
	first := &store.FirstAnswer{AccountID: caller.ClientID, Key: key, Subject: id}
	if result != nil {
		text, err := json.Marshal(result)
		if err != nil {
			return err
		}
		first.Result = string(text)
	}
	return tx.InsertFirstAnswer(ctx, first)
}

// running are the requests with a key that this node is working on.
type running struct {
	mu   sync.Mutex
	keys map[heldKey]bool
}

type heldKey struct{ accountID, operation, key string }

// enter takes the key until leave, or refuses at once: to wait would hold a
// request on behalf of a client that has most likely given it up.
func (r *running) enter(key heldKey) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys[key] {
		return nil, fault.KeyInProgress()
	}
	r.keys[key] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.keys, key)
	}, nil
}
