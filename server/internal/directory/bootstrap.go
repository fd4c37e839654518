package directory

import (
	"context"
	"errors"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

// ErrAdministratorExists is the cause of the Conflict by which
// [Service.BootstrapAdmin] refuses.
var ErrAdministratorExists = errors.New("directory: an enabled administrator exists")

const bootstrapName = "administrator"

// BootstrapAdmin makes an administrator with one secret. It has no caller:
// whoever can run it has the database and the master key in hand anyway.
//
// It refuses while an enabled administrator exists, unless it is to recover an
// installation whose administrators have lost their secrets. It never touches
// an account that is there: recovery makes a further one.
func (s *Service) BootstrapAdmin(ctx context.Context, recovering bool) (*identity.ServiceAccount, identity.Secret, error) {
	issued, err := s.mint("", time.Time{})
	if err != nil {
		return nil, identity.Secret{}, err
	}
	var out *identity.ServiceAccount
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		// Asked in the transaction: of two nodes that start at once, one makes
		// the administrator and the other finds it.
		if err := mayBootstrap(ctx, tx, recovering); err != nil {
			return err
		}
		a, err := administrator(ctx, tx)
		if err != nil {
			return err
		}
		if err := tx.InsertServiceAccount(ctx, a); err != nil {
			return err
		}
		issued.ClientSecret.ServiceAccountID = a.ID
		if err := insertSecret(ctx, tx, identity.NewID(identity.PrefixClientSecret, tx.Now), issued, nil); err != nil {
			return err
		}
		_, err = tx.Assign(ctx, &identity.Assignment{ServiceAccountID: a.ID, RoleID: identity.RoleAdminID, RoleName: "admin", CreatedAt: tx.Now})
		if err != nil {
			return err
		}
		details := map[string]string{"name": a.Name, "client_secret": issued.ClientSecret.ID}
		if recovering {
			details["recover"] = "true"
		}
		tx.Audit(audit.Event{
			Type: audit.AdministratorBootstrapped, Outcome: audit.Success, Actor: audit.ActorSystem,
			AccountID: a.ID, Subject: a.ID, Details: details,
		})
		out, err = tx.ServiceAccount(ctx, a.ID)
		return err
	})
	if err != nil {
		return nil, identity.Secret{}, err
	}
	return out, issued.Secret, nil
}

// mayBootstrap refuses when somebody has the role admin, for however long, and
// is not disabled.
func mayBootstrap(ctx context.Context, tx *store.Tx, recovering bool) error {
	if recovering {
		return nil
	}
	for assigned, err := range adminAssignments(ctx, tx) {
		if err != nil {
			return err
		}
		a, err := tx.ServiceAccount(ctx, assigned.ServiceAccountID)
		if err != nil {
			return err
		}
		if assigned.Live(tx.Now) && a.Live(tx.Now) {
			return fault.New(fault.KindConflict, fault.CodeInUse,
				"an enabled administrator exists: %s (%s); if its secret is lost, recover", a.ID, a.Name).Because(ErrAdministratorExists)
		}
	}
	return nil
}

// administrator is the account to be made, under the plain name unless that is taken.
func administrator(ctx context.Context, tx *store.Tx) (*identity.ServiceAccount, error) {
	a := &identity.ServiceAccount{
		ID: identity.NewID(identity.PrefixServiceAccount, tx.Now), Name: bootstrapName,
		DisplayName: "Administrator", Description: "Made by bootstrap-admin: administers Marque",
		Kind: identity.KindService, Owner: "operator of this installation",
		Status: identity.StatusActive, DefaultResourceServer: identity.ManagementResourceServerID,
	}
	for other, err := range each(func(at store.Page) ([]identity.ServiceAccount, bool, error) {
		return tx.ServiceAccounts(ctx, store.AccountFilter{NamePrefix: bootstrapName}, at)
	}, func(a *identity.ServiceAccount) string { return a.ID }) {
		if err != nil {
			return nil, err
		}
		if other.Name == bootstrapName {
			a.Name = bootstrapName + "-" + a.ID[len(a.ID)-8:]
			break
		}
	}
	return a, nil
}
