package directory

import (
	"context"
	"strconv"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/token"
)

// DisableServiceAccount stops an account: it gets no token any more, and its
// live ones die. Disabling a disabled account changes nothing.
func (s *Service) DisableServiceAccount(ctx context.Context, caller *token.Caller, meta Meta, id string) (*identity.ServiceAccount, error) {
	return s.changeAccount(ctx, caller, id, func(tx *store.Tx, a *identity.ServiceAccount) error {
		if a.Status == identity.StatusDisabled {
			return nil
		}
		a.Status = identity.StatusDisabled
		var gen int64
		err := keepAdministrator(ctx, tx, id, func() (err error) {
			if err := tx.UpdateServiceAccount(ctx, a); err != nil {
				return err
			}
			// In the same transaction: a crash leaves either a working account
			// or a stopped one, never one whose old tokens outlive it.
			gen, err = tx.BumpGeneration(ctx, id)
			return err
		})
		if err != nil {
			return err
		}
		tx.Audit(accountEvent(caller, meta, audit.AccountDisabled, id, gen))
		return nil
	})
}

// EnableServiceAccount lets a disabled account sign in again. Its old tokens
// stay dead. Enabling an active account changes nothing.
func (s *Service) EnableServiceAccount(ctx context.Context, caller *token.Caller, meta Meta, id string) (*identity.ServiceAccount, error) {
	return s.changeAccount(ctx, caller, id, func(tx *store.Tx, a *identity.ServiceAccount) error {
		if a.Status == identity.StatusActive {
			return nil
		}
		if err := mayActAs(ctx, tx, caller, id); err != nil {
			return err
		}
		a.Status = identity.StatusActive
		if err := tx.UpdateServiceAccount(ctx, a); err != nil {
			return err
		}
		tx.Audit(accountEvent(caller, meta, audit.AccountEnabled, id, a.Gen))
		return nil
	})
}

// RevokeServiceAccountTokens kills every token issued to the account so far and
// returns it with its new generation. The account can ask for new ones.
func (s *Service) RevokeServiceAccountTokens(ctx context.Context, caller *token.Caller, meta Meta, id string) (*identity.ServiceAccount, error) {
	return once(ctx, s, caller, meta, nil, func(tx *store.Tx) (*identity.ServiceAccount, string, error) {
		a, err := onAccount(ctx, tx, id, func(tx *store.Tx, _ *identity.ServiceAccount) error {
			gen, err := tx.BumpGeneration(ctx, id)
			if err != nil {
				return err
			}
			tx.Audit(accountEvent(caller, meta, audit.AccountTokensRevoked, id, gen))
			return nil
		})
		return a, id, err
	})
}

// DeleteServiceAccount ends an account for good, with its secrets, assignments
// and live tokens. Its name is free again; its id stays taken.
func (s *Service) DeleteServiceAccount(ctx context.Context, caller *token.Caller, meta Meta, id string, ifMatch *int64) error {
	return s.change(ctx, caller, func(tx *store.Tx) error {
		a, err := readAccount(ctx, tx.Reader, id)
		if err != nil {
			return err
		}
		if err := matches(ifMatch, a.Version); err != nil {
			return err
		}
		// The tombstone carries the next generation, so that what was issued is
		// dead by the same rule as after a revocation.
		err = keepAdministrator(ctx, tx, id, func() error { return tx.DeleteServiceAccount(ctx, a) })
		if err != nil {
			return err
		}
		e := event(caller, meta, audit.AccountDeleted)
		e.AccountID, e.Subject = id, id
		e.Details = map[string]string{"name": a.Name, "owner": a.Owner}
		tx.Audit(e)
		return nil
	})
}

// changeAccount runs a verb of one account and answers it as it then is.
func (s *Service) changeAccount(ctx context.Context, caller *token.Caller, id string, verb func(*store.Tx, *identity.ServiceAccount) error) (*identity.ServiceAccount, error) {
	var out *identity.ServiceAccount
	err := s.change(ctx, caller, func(tx *store.Tx) (err error) {
		out, err = onAccount(ctx, tx, id, verb)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// onAccount is changeAccount in a transaction that is there already.
func onAccount(ctx context.Context, tx *store.Tx, id string, verb func(*store.Tx, *identity.ServiceAccount) error) (*identity.ServiceAccount, error) {
	a, err := readAccount(ctx, tx.Reader, id)
	if err != nil {
		return nil, err
	}
	if err := verb(tx, a); err != nil {
		return nil, err
	}
	return tx.ServiceAccount(ctx, id)
}

func accountEvent(caller *token.Caller, meta Meta, typ audit.Type, id string, gen int64) audit.Event {
	e := event(caller, meta, typ)
	e.AccountID, e.Subject = id, id
	e.Details = map[string]string{"gen": strconv.FormatInt(gen, 10)}
	return e
}
