package directory

import (
	"context"
	"iter"
	"slices"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// A change must not be what leaves an installation without an administrator:
// an account that has the built-in role admin, may sign in, and has a live
// credential to do it with, of a kind that it allows and that gives all of it. Two things are kept:
//
//   - somebody who can administer now, and
//   - somebody whom no end date of the account or of the assignment will stop,
//     so that nobody has to do anything for it to stay so.
//
// An installation that already lacks one of them (its last administrator's
// credential has run out) is not hindered further; `marque bootstrap-admin
// --recover` is for it.

// standing is what an account is worth as an administrator.
type standing struct{ now, lasting bool }

// standingOf looks at one account.
func standingOf(ctx context.Context, tx *store.Tx, accountID string) (standing, error) {
	none := standing{}
	assigned, err := tx.Assignment(ctx, accountID, identity.RoleAdminID)
	if fault.Is(err, fault.CodeNotFound) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	account, err := tx.ServiceAccount(ctx, accountID)
	if fault.Is(err, fault.CodeNotFound) {
		return none, nil
	}
	if err != nil {
		return none, err
	}
	if !assigned.Live(tx.Now) || !account.Live(tx.Now) {
		return none, nil
	}
	if in, err := hasWayIn(ctx, tx, account); err != nil || !in {
		return none, err
	}
	return standing{now: true, lasting: assigned.ExpiresAt.IsZero() && account.ExpiresAt.IsZero()}, nil
}

// hasWayIn reports whether the account has a live credential that it may sign in
// by and that keeps nothing of what it holds back.
func hasWayIn(ctx context.Context, tx *store.Tx, account *identity.ServiceAccount) (bool, error) {
	if account.AllowsCredential(identity.KindClientSecret) {
		secrets, err := allSecrets(ctx, tx.Reader, account.ID)
		if err != nil || countLive(secrets, tx.Now) > 0 {
			return err == nil, err
		}
	}
	if !account.AllowsCredential(identity.KindAPIKey) {
		return false, nil
	}
	keys, err := allKeys(ctx, tx.Reader, account.ID)
	return slices.ContainsFunc(keys, func(k identity.APIKey) bool { return k.Live(tx.Now) && !k.Restricted }), err
}

// keepAdministrator runs a change of one account and refuses it when the
// account was the last administrator and no longer is. The refusal comes after
// the write: it ends the transaction, so that nothing of it stays.
func keepAdministrator(ctx context.Context, tx *store.Tx, accountID string, write func() error) error {
	before, err := standingOf(ctx, tx, accountID)
	if err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	if !before.now {
		return nil
	}
	left, err := bestStanding(ctx, tx)
	if err != nil {
		return err
	}
	if !left.now || before.lasting && !left.lasting {
		return fault.New(fault.KindConflict, fault.CodeLastAdministrator,
			"this is the last administrator: make another one first, with no end date and a credential of its own")
	}
	return nil
}

// bestStanding looks for an administrator who can and will, and stops at the first.
func bestStanding(ctx context.Context, tx *store.Tx) (standing, error) {
	best := standing{}
	for assigned, err := range adminAssignments(ctx, tx) {
		if err != nil {
			return best, err
		}
		one, err := standingOf(ctx, tx, assigned.ServiceAccountID)
		if err != nil || one.lasting {
			return one, err
		}
		best.now = best.now || one.now
	}
	return best, nil
}

// adminAssignments are all assignments of the role admin, ended ones included.
func adminAssignments(ctx context.Context, tx *store.Tx) iter.Seq2[*identity.Assignment, error] {
	return each(func(at store.Page) ([]identity.Assignment, bool, error) {
		return tx.AssignmentsOfRole(ctx, identity.RoleAdminID, at)
	}, func(a *identity.Assignment) string { return a.ServiceAccountID })
}
