package directory_test

import (
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/token"
)

// cast are the callers and targets of the escalation table.
type cast struct {
	api      *identity.ResourceServer
	reads    *identity.Role // invoices:read
	writes   *identity.Role // invoices:read and invoices:write
	empty    *identity.Role
	clerk    *token.Caller // manages everything, may not grant any, and holds invoices:read
	granter  *token.Caller // the same with roles:grant-any and nothing at invoices
	temp     *token.Caller // holds invoices:read for an hour
	plain    *identity.ServiceAccount
	writer   *identity.ServiceAccount // holds more than clerk
	reader   *identity.ServiceAccount // holds as much as clerk
	disabled *identity.ServiceAccount // like writer
	soon     time.Time
	later    time.Time
}

func newCast(w *world) *cast {
	c := &cast{api: w.api("invoices", "invoices:read", "invoices:write")}
	c.reads = w.role("reads", at(c.api.ID, "invoices:read"))
	c.writes = w.role("writes", at(c.api.ID, "invoices:read", "invoices:write"))
	c.empty = w.role("empty")
	manage := w.role("manage", management(
		identity.PermServiceAccountsWrite, identity.PermCredentialsWrite, identity.PermRolesWrite, identity.PermRolesAssign))
	grant := w.role("grant", management(identity.PermRolesGrantAny))
	c.soon, c.later = w.clock.Now().Add(30*time.Minute), w.clock.Now().Add(2*time.Hour)

	c.clerk = w.agent("clerk", manage.ID, c.reads.ID)
	c.granter = w.agent("granter", manage.ID, grant.ID)
	temp := w.agent("temp", manage.ID)
	w.assign(temp.ClientID, c.reads.ID, w.clock.Now().Add(time.Hour))
	c.temp = w.caller(temp.ClientID)

	c.plain = w.account("plain")
	c.reader, c.writer, c.disabled = w.account("reader"), w.account("writer"), w.account("stopped")
	w.assign(c.reader.ID, c.reads.ID, time.Time{})
	w.assign(c.writer.ID, c.writes.ID, time.Time{})
	w.assign(c.disabled.ID, c.writes.ID, time.Time{})
	_, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, c.disabled.ID)
	w.must(err)
	return c
}

func TestNobodyHandsOutOrReachesRightsThatItDoesNotHold(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		c := newCast(w)
		assign := func(who *token.Caller, to, role string, until time.Time) func() error {
			return func() error {
				_, err := w.AssignRole(w.ctx, who, w.meta, to, role, directory.NewAssignment{ExpiresAt: until})
				return err
			}
		}
		create := func(who *token.Caller, name string, p []identity.RolePermission) func() error {
			return func() error {
				_, err := w.CreateRole(w.ctx, who, w.meta, directory.NewRole{Name: name, Permissions: p})
				return err
			}
		}
		secret := func(who *token.Caller, account string) func() error {
			return func() error {
				_, err := w.CreateClientSecret(w.ctx, who, w.meta, account, directory.NewClientSecret{})
				return err
			}
		}
		rotate := func(who *token.Caller, account string) func() error {
			return func() error {
				_, err := w.RotateClientSecret(w.ctx, who, w.meta, account, directory.Rotation{})
				return err
			}
		}
		change := func(who *token.Caller, account string, in directory.ServiceAccountPatch) func() error {
			return func() error {
				_, err := w.UpdateServiceAccount(w.ctx, who, w.meta, account, nil, in)
				return err
			}
		}
		widen := func(who *token.Caller, role string, p []identity.RolePermission) func() error {
			return func() error {
				_, err := w.UpdateRole(w.ctx, who, w.meta, role, nil, directory.RolePatch{Permissions: directory.PatchTo(p)})
				return err
			}
		}
		enable := func(who *token.Caller, account string) func() error {
			return func() error { _, err := w.EnableServiceAccount(w.ctx, who, w.meta, account); return err }
		}
		const ok, exceeds, own = fault.Code(""), fault.CodeGrantExceedsCaller, fault.CodeOwnRights
		read, write := at(c.api.ID, "invoices:read"), at(c.api.ID, "invoices:read", "invoices:write")
		networks := directory.ServiceAccountPatch{AllowedNetworks: directory.PatchTo([]string{"0.0.0.0/0"})}
		lifetime := directory.ServiceAccountPatch{TokenLifetime: directory.PatchTo(24 * time.Hour)}

		for _, step := range []struct {
			name string
			do   func() error
			want fault.Code
		}{
			{"assign what one holds", assign(c.clerk, c.plain.ID, c.reads.ID, time.Time{}), ok},
			{"assign more than one holds", assign(c.clerk, c.plain.ID, c.writes.ID, time.Time{}), exceeds},
			{"assign more for a minute only", assign(c.clerk, c.plain.ID, c.writes.ID, c.soon), exceeds},
			{"assign a role that gives nothing", assign(c.clerk, c.plain.ID, c.empty.ID, time.Time{}), ok},
			{"assign the built-in admin", assign(c.clerk, c.plain.ID, identity.RoleAdminID, time.Time{}), exceeds},
			{"assign anything with grant-any", assign(c.granter, c.plain.ID, c.writes.ID, time.Time{}), ok},
			{"grant-any that the token leaves out", assign(narrowed(c.granter, identity.PermRolesAssign), c.plain.ID, c.writes.ID, c.soon), exceeds},
			{"assign for less time than one holds it", assign(c.temp, c.plain.ID, c.reads.ID, c.soon), ok},
			{"assign for longer than one holds it", assign(c.temp, c.plain.ID, c.reads.ID, c.later), exceeds},
			{"assign for good what one holds for an hour", assign(c.temp, c.plain.ID, c.reads.ID, time.Time{}), exceeds},
			{"assign to oneself", assign(c.granter, c.granter.ClientID, c.reads.ID, time.Time{}), own},
			{"assign to oneself as administrator", assign(w.admin, w.admin.ClientID, c.reads.ID, time.Time{}), own},

			{"create a role of what one holds", create(c.clerk, "a", read), ok},
			{"create a role of more", create(c.clerk, "b", write), exceeds},
			{"create a role of management rights", create(c.clerk, "c", management(identity.PermTokensRevoke)), exceeds},
			{"create a role of what the token leaves out", create(narrowed(c.clerk, identity.PermRolesWrite), "d", management(identity.PermRolesAssign)), exceeds},
			{"create a role with grant-any", create(c.granter, "e", write), ok},
			{"widen a role by more than one holds", widen(c.clerk, c.empty.ID, write), exceeds},
			{"widen a role for good by what one holds for an hour", widen(c.temp, c.empty.ID, read), exceeds},
			{"widen a role by what one holds", widen(c.clerk, c.empty.ID, read), ok},
			{"narrow a role that gives more than one holds", widen(c.clerk, c.writes.ID, at(c.api.ID, "invoices:write")), ok},
			{"widen the role that one has oneself", widen(c.clerk, c.reads.ID, append(read, management(identity.PermRolesWrite)...)), own},

			{"secret of an account without rights", secret(c.clerk, w.account("bare").ID), ok},
			{"secret of an account with as many rights", secret(c.clerk, c.reader.ID), ok},
			{"secret of an account with more rights", secret(c.clerk, c.writer.ID), exceeds},
			{"secret of a disabled account with more rights", secret(c.clerk, c.disabled.ID), exceeds},
			{"secret of the administrator", secret(c.clerk, w.admin.ClientID), exceeds},
			{"secret of the administrator by grant-any", secret(c.granter, w.admin.ClientID), ok},
			{"secret of one's own", secret(c.clerk, c.clerk.ClientID), ok},
			{"secret of one's own by a narrowed token", secret(narrowed(c.clerk, identity.PermCredentialsWrite), c.clerk.ClientID), exceeds},
			{"rotation for an account with more rights", rotate(c.clerk, c.writer.ID), exceeds},
			{"rotation for the administrator", rotate(c.clerk, w.admin.ClientID), exceeds},
			{"rotation of one's own", rotate(c.temp, c.temp.ClientID), ok},

			{"enable an account with more rights", enable(c.clerk, c.disabled.ID), exceeds},
			{"widen networks of an account with more rights", change(c.clerk, c.writer.ID, networks), exceeds},
			{"lengthen tokens of an account with more rights", change(c.clerk, c.writer.ID, lifetime), exceeds},
			{"widen networks of an account with as many rights", change(c.clerk, c.reader.ID, networks), ok},
			{"rename an account with more rights", change(c.clerk, c.writer.ID, directory.ServiceAccountPatch{Name: directory.PatchTo("renamed")}), ok},
			{"end an account with more rights", change(c.clerk, c.writer.ID, directory.ServiceAccountPatch{ExpiresAt: directory.PatchTo(c.soon)}), ok},
			{"put off the end of an account with more rights", change(c.clerk, c.writer.ID, directory.ServiceAccountPatch{ExpiresAt: directory.PatchTo(c.later)}), exceeds},
			{"lift the end of an account with more rights", change(c.clerk, c.writer.ID, directory.ServiceAccountPatch{ExpiresAt: directory.PatchNull[time.Time]()}), exceeds},
			{"disable an account with more rights", func() error { _, err := w.DisableServiceAccount(w.ctx, c.clerk, w.meta, c.writer.ID); return err }, ok},
			{"enable it again", enable(c.clerk, c.writer.ID), exceeds},
			{"enable it with grant-any", enable(c.granter, c.writer.ID), ok},
			{"take a role that one does not hold", func() error { return w.UnassignRole(w.ctx, c.clerk, w.meta, c.writer.ID, c.writes.ID, nil) }, ok},
			{"take one's own role", func() error { return w.UnassignRole(w.ctx, c.clerk, w.meta, c.clerk.ClientID, c.reads.ID, nil) }, own},
			{"a token without scopes hands out nothing", assign(narrowed(w.admin), c.plain.ID, c.writes.ID, c.soon), exceeds},
		} {
			before := len(w.events())
			err := step.do()
			if step.want == ok && err != nil || step.want != ok && !fault.Is(err, step.want) {
				t.Errorf("%s: error = %v, want %q", step.name, err, step.want)
			}
			if step.want != ok && len(w.events()) != before {
				t.Errorf("%s: refused, and the audit log grew", step.name)
			}
		}
	})
}

func TestRightsThatWereTakenAwayAreGoneInTheNextChange(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		c := newCast(w)
		// The caller was signed in before: what it carries is old.
		w.must(w.UnassignRole(w.ctx, w.admin, w.meta, c.clerk.ClientID, c.reads.ID, nil))
		_, err := w.AssignRole(w.ctx, c.clerk, w.meta, c.plain.ID, c.reads.ID, directory.NewAssignment{})
		w.refused(err, fault.CodeGrantExceedsCaller)

		for name, stop := range map[string]func(id string) error{
			"disabled": func(id string) error { _, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, id); return err },
			"revoked":  func(id string) error { _, err := w.RevokeServiceAccountTokens(w.ctx, w.admin, w.meta, id); return err },
			"deleted":  func(id string) error { return w.DeleteServiceAccount(w.ctx, w.admin, w.meta, id, nil) },
			"secretless": func(id string) error {
				return w.DeleteClientSecret(w.ctx, w.admin, w.meta, id, w.caller(id).CredentialID)
			},
			"rotated": func(id string) error {
				none := time.Duration(0)
				_, err := w.RotateClientSecret(w.ctx, w.admin, w.meta, id, directory.Rotation{Overlap: &none})
				return err
			},
			"expired": func(id string) error {
				in := directory.ServiceAccountPatch{ExpiresAt: directory.PatchTo(w.clock.Now().Add(time.Second))}
				_, err := w.UpdateServiceAccount(w.ctx, w.admin, w.meta, id, nil, in)
				w.clock.Advance(time.Second)
				return err
			},
		} {
			caller := w.agent(name, identity.RoleAdminID)
			w.must(stop(caller.ClientID))
			_, err := w.CreateServiceAccount(w.ctx, caller, w.meta, directory.NewServiceAccount{Name: "by-" + name, Owner: "ops"})
			if !fault.Is(err, fault.CodeInvalidToken) {
				t.Errorf("%s: error = %v", name, err)
			}
		}
	})
}
