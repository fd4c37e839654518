package directory_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/testkit"
)

// takings are all ways to take an administrator away.
func takings(w *world, id string) map[string]func() error {
	soon := w.clock.Now().Add(time.Hour)
	return map[string]func() error{
		"disable": func() error { _, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, id); return err },
		"delete":  func() error { return w.DeleteServiceAccount(w.ctx, w.admin, w.meta, id, nil) },
		"expire-account": func() error {
			in := directory.ServiceAccountPatch{ExpiresAt: directory.PatchTo(soon)}
			_, err := w.UpdateServiceAccount(w.ctx, w.admin, w.meta, id, nil, in)
			return err
		},
		"expire-assignment": func() error {
			in := directory.NewAssignment{ExpiresAt: soon}
			_, err := w.AssignRole(w.ctx, w.assigner, w.meta, id, identity.RoleAdminID, in)
			return err
		},
		"unassign": func() error { return w.UnassignRole(w.ctx, w.assigner, w.meta, id, identity.RoleAdminID, nil) },
		"delete-secret": func() error {
			return w.DeleteClientSecret(w.ctx, w.admin, w.meta, id, w.caller(id).CredentialID)
		},
	}
}

// assigning makes the caller who assigns any role and is no administrator.
func (w *world) assigning() {
	w.t.Helper()
	w.assigner = w.agent("assigner", w.role("assigner", management(identity.PermRolesAssign, identity.PermRolesGrantAny)).ID)
}

func TestTheLastAdministratorStays(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.assigning()
		// Accounts that look like administrators and are none.
		w.agent("operator", identity.RoleOperatorID)
		off := w.agent("disabled", identity.RoleAdminID)
		_, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, off.ClientID)
		w.must(err)
		secretless := w.account("secretless")
		w.assign(secretless.ID, identity.RoleAdminID, time.Time{})
		leaving := w.account("leaving")
		w.assign(leaving.ID, identity.RoleAdminID, w.clock.Now().Add(time.Hour))
		_, err = w.CreateClientSecret(w.ctx, w.admin, w.meta, leaving.ID, directory.NewClientSecret{})
		w.must(err)

		for name, take := range takings(w, w.admin.ClientID) {
			before := len(w.events())
			if err := take(); !fault.Is(err, fault.CodeLastAdministrator) {
				t.Errorf("%s: error = %v", name, err)
			}
			if len(w.events()) != before {
				t.Errorf("%s: refused, and recorded as done", name)
			}
		}
		a, err := w.GetServiceAccount(w.ctx, w.admin, w.admin.ClientID)
		if err != nil || a.Status != identity.StatusActive || a.Gen != w.admin.Principal.Account.Gen {
			t.Errorf("a refused change left a trace: %+v, %v", a, err)
		}
	})
}

func TestAnAdministratorGoesWhenAnotherStays(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		w.assigning()
		for name := range takings(w, "") {
			other := w.agent("other-"+name, identity.RoleAdminID)
			if err := takings(w, other.ClientID)[name](); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAnAdministratorMayHaveSecretsThatExpire(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		none := time.Duration(0)
		issued, err := w.RotateClientSecret(w.ctx, w.admin, w.meta, w.admin.ClientID,
			directory.Rotation{Overlap: &none, ExpiresAt: w.clock.Now().Add(time.Hour)})
		w.must(err)
		w.admin = w.caller(w.admin.ClientID)
		if w.admin.CredentialID != issued.ClientSecret.ID {
			t.Error("the old secret still works")
		}
		w.refused(w.DeleteClientSecret(w.ctx, w.admin, w.meta, w.admin.ClientID, issued.ClientSecret.ID), fault.CodeLastAdministrator)

		// When it has run out, nobody can sign in: recovery makes a further one.
		w.clock.Advance(2 * time.Hour)
		_, _, err = w.BootstrapAdmin(w.ctx, false)
		if !errors.Is(err, directory.ErrAdministratorExists) {
			t.Errorf("bootstrap beside an enabled administrator: %v", err)
		}
		again, _, err := w.BootstrapAdmin(w.ctx, true)
		w.must(err)
		if again.ID == w.admin.ClientID || again.Name == "administrator" {
			t.Errorf("recovery took the old account: %+v", again)
		}
	})
}

func TestTwoAdministratorsCannotRemoveEachOtherAtOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		for range 5 {
			other := w.agent("other", identity.RoleAdminID)
			var group sync.WaitGroup
			errs := make([]error, 2)
			group.Go(func() { _, errs[0] = w.DisableServiceAccount(w.ctx, w.admin, w.meta, other.ClientID) })
			group.Go(func() { _, errs[1] = w.DisableServiceAccount(w.ctx, other, w.meta, w.admin.ClientID) })
			group.Wait()
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Fatalf("of two only one can win: %v, %v", errs[0], errs[1])
			}
			left, gone := w.admin, other
			if errs[0] != nil {
				left, gone = other, w.admin
			}
			w.admin = left
			w.must(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, gone.ClientID, nil))
			if _, err := w.UpdateServiceAccount(w.ctx, w.admin, w.meta, left.ClientID, nil,
				directory.ServiceAccountPatch{Name: directory.PatchTo("administrator")}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestBootstrapMakesOneAdministratorOnce(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := emptyWorld(t, url)
		const nodes = 4
		errs, secrets := make([]error, nodes), make([]identity.Secret, nodes)
		accounts := make([]*identity.ServiceAccount, nodes)
		var group sync.WaitGroup
		for i := range nodes {
			group.Go(func() { accounts[i], secrets[i], errs[i] = w.BootstrapAdmin(w.ctx, false) })
		}
		group.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won < 0:
				won = i
			case err == nil:
				t.Error("two administrators")
			case !errors.Is(err, directory.ErrAdministratorExists) || secrets[i].Reveal() != "":
				t.Errorf("loser %d: %v", i, err)
			}
		}
		if won < 0 {
			t.Fatalf("no administrator: %v", errs)
		}
		if identity.CheckClientSecret(secrets[won].Reveal()) != nil {
			t.Error("no secret was given")
		}
		a := accounts[won]
		if a.Name != "administrator" || a.DefaultResourceServer != identity.ManagementResourceServerID {
			t.Errorf("%+v", a)
		}
		w.admin = w.caller(a.ID)
		if !w.admin.Has(identity.PermRolesGrantAny) {
			t.Error("the administrator does not hold everything")
		}
		var found int
		for _, e := range w.events() {
			if e.AccountID == a.ID && e.Actor == "system" && string(e.Type) == "administrator.bootstrapped" {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d events of the bootstrap", found)
		}
	})
}
