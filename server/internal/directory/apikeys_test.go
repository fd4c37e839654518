package directory_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/token"
)

func (w *world) key(accountID string, in directory.NewAPIKey) *directory.IssuedAPIKey {
	w.t.Helper()
	if in.Name == "" {
		in.Name = "a key"
	}
	out, err := w.CreateAPIKey(w.ctx, w.admin, w.meta, accountID, in)
	w.must(err)
	return out
}

// by signs an account in by one of its credentials.
func (w *world) by(accountID, credentialID string) *token.Caller {
	w.t.Helper()
	p, err := w.store.Principal(w.ctx, accountID)
	w.must(err)
	credential, ok := p.Credential(credentialID)
	if !ok {
		w.t.Fatalf("%s has no %s", p.Account.Name, credentialID)
	}
	caller := token.ClientCaller(p, &credential, w.clock.Now())
	return &caller
}

func only(permissions []identity.RolePermission) *[]identity.RolePermission { return &permissions }

func TestAPIKeyIsMadeReadAndDeleted(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read")
		a := w.account("agent")
		issued := w.key(a.ID, directory.NewAPIKey{
			Name: "nightly", Permissions: only(at(api.ID, "invoices:read")), AllowedNetworks: []string{"192.0.2.0/24"}, ExpiresAt: w.clock.Now().Add(time.Hour),
		})
		if err := identity.CheckAPIKey(issued.Secret.Reveal()); err != nil || issued.APIKey.Hint != identity.Hint(issued.Secret) {
			t.Errorf("%v, hint %s", err, issued.APIKey.Hint)
		}
		got, err := w.GetAPIKey(w.ctx, w.admin, a.ID, issued.APIKey.ID)
		w.must(err)
		if got.Name != "nightly" || !got.Restricted || !slices.Equal(got.Permissions, at(api.ID, "invoices:read")) || got.MAC != issued.APIKey.MAC {
			t.Errorf("%+v", got)
		}
		w.must(w.DeleteAPIKey(w.ctx, w.admin, w.meta, a.ID, got.ID, &got.Version))
		_, err = w.GetAPIKey(w.ctx, w.admin, a.ID, got.ID)
		w.refused(err, fault.CodeNotFound)
		w.refused(w.DeleteAPIKey(w.ctx, w.admin, w.meta, a.ID, got.ID, nil), fault.CodeNotFound)
		var types []audit.Type
		for _, e := range w.events() {
			if e.Subject == got.ID {
				types = append(types, e.Type)
				if e.AccountID != a.ID || e.Details["name"] != "nightly" || e.Details["permissions"] != api.ID+"/invoices:read" {
					t.Errorf("on record: %+v", e)
				}
				for _, v := range e.Details {
					if strings.Contains(v, issued.Secret.Reveal()) {
						t.Error("the text of the key is on record")
					}
				}
			}
		}
		if !slices.Equal(types, []audit.Type{audit.APIKeyCreated, audit.APIKeyDeleted}) {
			t.Errorf("on record: %v", types)
		}
	})
}

func TestAtMostTenKeysLiveAtOnceAndTwentyThatHaveEndedStay(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("agent")
		for range 3 {
			for range directory.MaxLiveAPIKeys {
				w.key(a.ID, directory.NewAPIKey{ExpiresAt: w.clock.Now().Add(time.Hour)})
			}
			_, err := w.CreateAPIKey(w.ctx, w.admin, w.meta, a.ID, directory.NewAPIKey{Name: "one more"})
			w.refused(err, fault.CodeLimitReached)
			w.clock.Advance(time.Hour)
		}
		w.key(a.ID, directory.NewAPIKey{})
		p, err := w.ListAPIKeys(w.ctx, w.admin, a.ID, directory.PageRequest{})
		w.must(err)
		if len(p.Items) != 21 {
			t.Errorf("%d keys stay", len(p.Items))
		}
	})
}

// What one cannot do oneself one cannot make a key for, nor widen one to it.
func TestNobodyMakesAKeyForMoreThanTheyHold(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read", "invoices:write")
		both := w.role("both", at(api.ID, "invoices:read", "invoices:write"))
		reader := w.role("reader", at(api.ID, "invoices:read"))
		keeper := w.role("keeper", management(identity.PermCredentialsRead, identity.PermCredentialsWrite))
		a := w.account("agent")
		w.assign(a.ID, both.ID, time.Time{})
		caller := w.agent("caller", keeper.ID, reader.ID)

		make := func(in directory.NewAPIKey) (*directory.IssuedAPIKey, error) {
			in.Name = "k"
			return w.CreateAPIKey(w.ctx, caller, w.meta, a.ID, in)
		}
		for name, in := range map[string]directory.NewAPIKey{
			"all of it":         {},
			"one that it lacks": {Permissions: only(at(api.ID, "invoices:write"))},
			"that beside one":   {Permissions: only(at(api.ID, "invoices:read", "invoices:write"))},
		} {
			if _, err := make(in); !fault.Is(err, fault.CodeGrantExceedsCaller) {
				t.Errorf("%s: %v", name, err)
			}
		}
		k, err := make(directory.NewAPIKey{Permissions: only(at(api.ID, "invoices:read"))})
		w.must(err)
		// What the account does not hold either is no right to hand out.
		if _, err := make(directory.NewAPIKey{Permissions: only(management(identity.PermAuditRead))}); err != nil {
			t.Error(err)
		}

		patch := func(in directory.APIKeyPatch) error {
			_, err := w.UpdateAPIKey(w.ctx, caller, w.meta, a.ID, k.APIKey.ID, nil, in)
			return err
		}
		w.refused(patch(directory.APIKeyPatch{Permissions: directory.PatchNull[[]identity.RolePermission]()}), fault.CodeGrantExceedsCaller)
		w.refused(patch(directory.APIKeyPatch{Permissions: directory.PatchTo(at(api.ID, "invoices:read", "invoices:write"))}), fault.CodeGrantExceedsCaller)
		w.must(patch(directory.APIKeyPatch{Permissions: directory.PatchTo([]identity.RolePermission{}), Name: directory.PatchTo("less")}))
		w.must(patch(directory.APIKeyPatch{Permissions: directory.PatchTo(at(api.ID, "invoices:read"))}))

		// Somebody else's key, of more: it can be taken away, not loosened nor made anew.
		wide := w.key(a.ID, directory.NewAPIKey{ExpiresAt: w.clock.Now().Add(time.Hour), AllowedNetworks: []string{"192.0.2.0/24"}})
		for name, in := range map[string]directory.APIKeyPatch{
			"its networks": {AllowedNetworks: directory.PatchNull[[]string]()},
			"its end":      {ExpiresAt: directory.PatchNull[time.Time]()},
		} {
			if _, err := w.UpdateAPIKey(w.ctx, caller, w.meta, a.ID, wide.APIKey.ID, nil, in); !fault.Is(err, fault.CodeGrantExceedsCaller) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err = w.RotateAPIKey(w.ctx, caller, w.meta, a.ID, wide.APIKey.ID, directory.KeyRotation{})
		w.refused(err, fault.CodeGrantExceedsCaller)
		_, err = w.UpdateAPIKey(w.ctx, caller, w.meta, a.ID, wide.APIKey.ID, nil, directory.APIKeyPatch{ExpiresAt: directory.PatchTo(w.clock.Now().Add(time.Minute))})
		w.must(err)
		w.must(w.DeleteAPIKey(w.ctx, caller, w.meta, a.ID, wide.APIKey.ID, nil))
	})
}

// What one holds until Friday one can make a key for until Friday, and not longer.
func TestAKeyIsMadeForAsLongAsItsMakerHoldsWhatItGives(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read")
		reader := w.role("reader", at(api.ID, "invoices:read"))
		keeper := w.role("keeper", management(identity.PermCredentialsWrite))
		a := w.account("agent")
		w.assign(a.ID, reader.ID, time.Time{})
		caller := w.agent("caller", keeper.ID)
		friday := w.clock.Now().Add(72 * time.Hour)
		w.assign(caller.ClientID, reader.ID, friday)
		for _, c := range []struct {
			ends time.Time
			ok   bool
		}{{time.Time{}, false}, {friday.Add(time.Second), false}, {friday, true}, {friday.Add(-time.Hour), true}} {
			k, err := w.CreateAPIKey(w.ctx, caller, w.meta, a.ID, directory.NewAPIKey{Name: "k", ExpiresAt: c.ends})
			if (err == nil) != c.ok || err != nil && !fault.Is(err, fault.CodeGrantExceedsCaller) {
				t.Errorf("until %s: %v", c.ends, err)
			}
			if err != nil {
				continue
			}
			_, err = w.RotateAPIKey(w.ctx, caller, w.meta, a.ID, k.APIKey.ID, directory.KeyRotation{})
			w.refused(err, fault.CodeGrantExceedsCaller)
			_, err = w.RotateAPIKey(w.ctx, caller, w.meta, a.ID, k.APIKey.ID, directory.KeyRotation{ExpiresAt: friday})
			w.must(err)
		}
	})
}

// A key of few permissions is no way to those that it was not given.
func TestARestrictedKeyIsNoKeyToTheRestOfItsAccount(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read", "invoices:write")
		role := w.role("both", at(api.ID, "invoices:read", "invoices:write"))
		holder := w.agent("holder", identity.RoleAdminID, role.ID)
		k := w.key(holder.ClientID, directory.NewAPIKey{Permissions: only(slices.Concat(
			management(identity.PermCredentialsWrite, identity.PermRolesAssign, identity.PermRolesWrite), at(api.ID, "invoices:read")))})
		caller := w.by(holder.ClientID, k.APIKey.ID)
		if !slices.Equal(caller.Scopes, []string{identity.PermCredentialsWrite, identity.PermRolesAssign, identity.PermRolesWrite}) {
			t.Fatalf("it may %v", caller.Scopes)
		}
		other := w.account("other")
		for name, try := range map[string]func() error{
			"a secret of its own account": func() error {
				_, err := w.CreateClientSecret(w.ctx, caller, w.meta, caller.ClientID, directory.NewClientSecret{})
				return err
			},
			"a key for everything": func() error {
				_, err := w.CreateAPIKey(w.ctx, caller, w.meta, caller.ClientID, directory.NewAPIKey{Name: "k"})
				return err
			},
			"widening itself": func() error {
				_, err := w.UpdateAPIKey(w.ctx, caller, w.meta, caller.ClientID, k.APIKey.ID, nil, directory.APIKeyPatch{Permissions: directory.PatchNull[[]identity.RolePermission]()})
				return err
			},
			"a role that its account has": func() error {
				_, err := w.AssignRole(w.ctx, caller, w.meta, other.ID, role.ID, directory.NewAssignment{})
				return err
			},
			"a role of its own making": func() error {
				_, err := w.CreateRole(w.ctx, caller, w.meta, directory.NewRole{Name: "mine", Permissions: at(api.ID, "invoices:write")})
				return err
			},
		} {
			if err := try(); !fault.Is(err, fault.CodeGrantExceedsCaller) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.CreateRole(w.ctx, caller, w.meta, directory.NewRole{Name: "narrow", Permissions: at(api.ID, "invoices:read")}); err != nil {
			t.Error(err)
		}
		// It can make its successor, and whoami tells what it gives.
		if _, err := w.RotateAPIKey(w.ctx, caller, w.meta, caller.ClientID, k.APIKey.ID, directory.KeyRotation{}); err != nil {
			t.Error(err)
		}
		who, err := w.GetWhoami(w.ctx, caller)
		w.must(err)
		for _, g := range who.Grants {
			if g.ResourceServerID == api.ID && !slices.Equal(g.Permissions, []string{"invoices:read"}) {
				t.Errorf("whoami: %+v", g)
			}
		}
		// A key that has ended or gone carries no further change, however fresh its token.
		w.must(w.DeleteAPIKey(w.ctx, w.admin, w.meta, caller.ClientID, k.APIKey.ID, nil))
		_, err = w.CreateRole(w.ctx, caller, w.meta, directory.NewRole{Name: "late"})
		w.refused(err, fault.CodeInvalidToken)
	})
}

func TestTheLastAdministratorMayComeInByAKey(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		id := w.admin.ClientID
		secrets, err := w.ListClientSecrets(w.ctx, w.admin, id, directory.PageRequest{})
		w.must(err)
		secret := secrets.Items[0].ID
		kinds := func(kinds ...identity.CredentialKind) error {
			_, err := w.UpdateServiceAccount(w.ctx, w.admin, w.meta, id, nil, directory.ServiceAccountPatch{AllowedCredentials: directory.PatchTo(kinds)})
			return err
		}
		w.refused(kinds(identity.KindAPIKey), fault.CodeLastAdministrator) // it has none
		narrow := w.key(id, directory.NewAPIKey{Permissions: only(management(identity.PermAuditRead))})
		w.refused(kinds(identity.KindAPIKey), fault.CodeLastAdministrator) // no way to all of it
		w.refused(w.DeleteClientSecret(w.ctx, w.admin, w.meta, id, secret), fault.CodeLastAdministrator)

		whole := w.key(id, directory.NewAPIKey{})
		byKey := w.by(id, whole.APIKey.ID)
		w.must(kinds(identity.KindAPIKey))
		for name, err := range map[string]error{
			"deleting it": w.DeleteAPIKey(w.ctx, byKey, w.meta, id, whole.APIKey.ID, nil),
			"narrowing it": func() error {
				_, err := w.UpdateAPIKey(w.ctx, byKey, w.meta, id, whole.APIKey.ID, nil, directory.APIKeyPatch{Permissions: directory.PatchTo(management(identity.PermAuditRead))})
				return err
			}(),
		} {
			if !fault.Is(err, fault.CodeLastAdministrator) {
				t.Errorf("%s: %v", name, err)
			}
		}
		// The secret is no way in any more: its caller is stopped, and it may go.
		w.refused(w.DeleteAPIKey(w.ctx, w.admin, w.meta, id, narrow.APIKey.ID, nil), fault.CodeInvalidToken)
		w.must(w.DeleteClientSecret(w.ctx, byKey, w.meta, id, secret))
		w.must(w.DeleteAPIKey(w.ctx, byKey, w.meta, id, narrow.APIKey.ID, nil))
		w.admin = byKey
	})
}

// Allowing other kinds makes credentials work that did not: it takes what they give.
func TestLooseningTheKindsTakesAllThatTheAccountHolds(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "invoices:read")
		reader := w.role("reader", at(api.ID, "invoices:read"))
		writer := w.role("writer", management(identity.PermServiceAccountsWrite))
		a, err := w.CreateServiceAccount(w.ctx, w.admin, w.meta, directory.NewServiceAccount{
			Name: "agent", Owner: "ops", AllowedCredentials: []identity.CredentialKind{identity.KindClientSecret, identity.KindAPIKey},
		})
		w.must(err)
		if !slices.Equal(a.AllowedCredentials, []identity.CredentialKind{identity.KindAPIKey, identity.KindClientSecret}) {
			t.Errorf("%v", a.AllowedCredentials)
		}
		w.assign(a.ID, reader.ID, time.Time{})
		caller := w.agent("caller", writer.ID)
		_, err = w.UpdateServiceAccount(w.ctx, caller, w.meta, a.ID, nil, directory.ServiceAccountPatch{AllowedCredentials: directory.PatchNull[[]identity.CredentialKind]()})
		w.refused(err, fault.CodeGrantExceedsCaller)
		_, err = w.UpdateServiceAccount(w.ctx, w.admin, w.meta, a.ID, nil, directory.ServiceAccountPatch{AllowedCredentials: directory.PatchNull[[]identity.CredentialKind]()})
		w.must(err)
		e := w.events()
		if d := e[len(e)-1].Details; d["changed"] != "allowed_credentials" || d["allowed_credentials"] != "" {
			t.Errorf("on record: %v", d)
		}
	})
}
