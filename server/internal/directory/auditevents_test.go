package directory_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

func TestEveryChangeIsRecordedExactlyOnce(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		var (
			account *identity.ServiceAccount
			api     *identity.ResourceServer
			role    *identity.Role
			secret  *directory.IssuedSecret
			texts   []string
			err     error
		)
		name := directory.ServiceAccountPatch{Name: directory.PatchTo("second")}
		description := directory.RolePatch{Description: directory.PatchTo("x")}
		lifetime := directory.ResourceServerPatch{TokenLifetimeMax: directory.PatchTo(time.Hour)}
		for _, step := range []struct {
			do      func() error
			typ     audit.Type // "" when nothing changes
			account bool       // the event is about the account
			subject func() string
		}{
			{func() error { account = w.account("first"); return nil }, audit.AccountCreated, true, func() string { return account.ID }},
			{func() error {
				_, err = w.UpdateServiceAccount(w.ctx, w.admin, w.meta, account.ID, nil, name)
				return err
			}, audit.AccountUpdated, true, func() string { return account.ID }},
			{func() error {
				_, err = w.UpdateServiceAccount(w.ctx, w.admin, w.meta, account.ID, nil, name)
				return err
			}, "", true, nil},
			{func() error {
				secret, err = w.CreateClientSecret(w.ctx, w.admin, w.meta, account.ID, directory.NewClientSecret{})
				texts = append(texts, secret.Secret.Reveal())
				return err
			}, audit.ClientSecretCreated, true, func() string { return secret.ClientSecret.ID }},
			{func() error {
				secret, err = w.RotateClientSecret(w.ctx, w.admin, w.meta, account.ID, directory.Rotation{})
				texts = append(texts, secret.Secret.Reveal())
				return err
			}, audit.ClientSecretRotated, true, func() string { return secret.ClientSecret.ID }},
			{func() error { return w.DeleteClientSecret(w.ctx, w.admin, w.meta, account.ID, secret.ClientSecret.ID) }, audit.ClientSecretDeleted, true, func() string { return secret.ClientSecret.ID }},
			{func() error { api = w.api("invoices", "a"); return nil }, audit.ResourceServerCreated, false, func() string { return api.ID }},
			{func() error {
				_, err = w.UpdateResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, lifetime)
				return err
			}, audit.ResourceServerUpdated, false, func() string { return api.ID }},
			{func() error {
				_, err = w.UpdateResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, lifetime)
				return err
			}, "", false, nil},
			{func() error { role = w.role("clerk"); return nil }, audit.RoleCreated, false, func() string { return role.ID }},
			{func() error { _, err = w.UpdateRole(w.ctx, w.admin, w.meta, role.ID, nil, description); return err }, audit.RoleUpdated, false, func() string { return role.ID }},
			{func() error { _, err = w.UpdateRole(w.ctx, w.admin, w.meta, role.ID, nil, description); return err }, "", false, nil},
			{func() error { w.assign(account.ID, role.ID, time.Time{}); return nil }, audit.RoleAssigned, true, func() string { return role.ID }},
			{func() error { w.assign(account.ID, role.ID, time.Time{}); return nil }, "", true, nil},
			{func() error { return w.UnassignRole(w.ctx, w.admin, w.meta, account.ID, role.ID, nil) }, audit.RoleUnassigned, true, func() string { return role.ID }},
			{func() error { _, err = w.EnableServiceAccount(w.ctx, w.admin, w.meta, account.ID); return err }, "", true, nil},
			{func() error { _, err = w.DisableServiceAccount(w.ctx, w.admin, w.meta, account.ID); return err }, audit.AccountDisabled, true, func() string { return account.ID }},
			{func() error { _, err = w.DisableServiceAccount(w.ctx, w.admin, w.meta, account.ID); return err }, "", true, nil},
			{func() error { _, err = w.EnableServiceAccount(w.ctx, w.admin, w.meta, account.ID); return err }, audit.AccountEnabled, true, func() string { return account.ID }},
			{func() error { _, err = w.RevokeServiceAccountTokens(w.ctx, w.admin, w.meta, account.ID); return err }, audit.AccountTokensRevoked, true, func() string { return account.ID }},
			{func() error { return w.DeleteServiceAccount(w.ctx, w.admin, w.meta, account.ID, nil) }, audit.AccountDeleted, true, func() string { return account.ID }},
			{func() error { return w.DeleteRole(w.ctx, w.admin, w.meta, role.ID, nil, false) }, audit.RoleDeleted, false, func() string { return role.ID }},
			{func() error { return w.DeleteResourceServer(w.ctx, w.admin, w.meta, api.ID, nil, false) }, audit.ResourceServerDeleted, false, func() string { return api.ID }},
			{func() error {
				_, s, err := w.BootstrapAdmin(w.ctx, true)
				texts = append(texts, s.Reveal())
				return err
			}, audit.AdministratorBootstrapped, false, nil},
		} {
			before := len(w.events())
			w.must(step.do())
			added := w.events()[before:]
			if step.typ == "" {
				if len(added) != 0 {
					t.Errorf("what changes nothing was recorded: %+v", added)
				}
				continue
			}
			if len(added) != 1 || added[0].Type != step.typ {
				t.Errorf("%s: recorded %+v", step.typ, added)
				continue
			}
			e := added[0]
			if step.typ == audit.AdministratorBootstrapped {
				continue
			}
			if e.Actor != w.admin.ClientID || e.CredentialID != w.admin.CredentialID || e.RequestID != w.meta.RequestID ||
				e.Address != w.meta.Address || e.Outcome != audit.Success || !e.At.Equal(w.clock.Now()) {
				t.Errorf("%s: %+v", step.typ, e)
			}
			if e.Subject != step.subject() || (e.AccountID == account.ID) != step.account {
				t.Errorf("%s: about %q and account %q", step.typ, e.Subject, e.AccountID)
			}
		}

		log := fmt.Sprintf("%+v", w.events())
		for _, text := range texts {
			for form, s := range map[string]string{
				"plain": text, "random part": text[4:47], "base64": base64.StdEncoding.EncodeToString([]byte(text)),
				"hex": hex.EncodeToString([]byte(text)), "URL": url.QueryEscape(text),
			} {
				if strings.Contains(log, s) {
					t.Errorf("a secret stands in the audit log (%s)", form)
				}
			}
		}
	})
}

func TestAuditEventsCanBeFilteredAndPaged(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		start := w.clock.Now()
		var ids []string
		for i := range 5 {
			w.clock.Advance(time.Minute)
			ids = append(ids, w.account(fmt.Sprintf("a-%d", i)).ID)
		}
		w.clock.Advance(time.Minute)
		_, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, ids[2])
		w.must(err)

		created := func(n ...int) (out []string) {
			for _, i := range n {
				out = append(out, "service_account.created "+ids[i])
			}
			return out
		}
		disabled := "service_account.disabled " + ids[2]
		for name, c := range map[string]struct {
			filter audit.Filter
			newest bool
			want   []string
		}{
			"by type":    {audit.Filter{Type: audit.AccountCreated}, false, created(0, 1, 2, 3, 4)},
			"newest":     {audit.Filter{Type: audit.AccountCreated}, true, created(4, 3, 2, 1, 0)},
			"by account": {audit.Filter{AccountID: ids[2]}, false, append(created(2), disabled)},
			"by actor":   {audit.Filter{Actor: w.admin.ClientID}, false, append(created(0, 1, 2, 3, 4), disabled)},
			"by time": {
				audit.Filter{From: start.Add(2 * time.Minute), To: start.Add(4 * time.Minute)}, false, created(1, 2),
			},
			"refused": {audit.Filter{Outcome: audit.Refused}, false, nil},
		} {
			var got []string
			for ask := (directory.PageRequest{Size: 2}); ; {
				p, err := w.ListAuditEvents(w.ctx, w.admin, directory.AuditEventFilter{Filter: c.filter, Newest: c.newest}, ask)
				w.must(err)
				for _, l := range p.Items {
					got = append(got, string(l.Event.Type)+" "+l.Event.AccountID)
				}
				if ask.Token = p.NextToken; ask.Token == "" {
					break
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		for pointer, filter := range map[string]audit.Filter{
			"?type": {Type: "nonsense"}, "?outcome": {Outcome: "maybe"}, "?actor": {Actor: "\x00"},
			"?service_account": {AccountID: "x"}, "?chain": {Chain: "' OR 1=1"},
		} {
			_, err := w.ListAuditEvents(w.ctx, w.admin, directory.AuditEventFilter{Filter: filter}, directory.PageRequest{})
			if f := fault.From(err); len(f.Fields) != 1 || f.Fields[0].Pointer != pointer {
				t.Errorf("%s: %+v", pointer, f)
			}
		}
	})
}

func TestWhoamiTellsTheTokenFromTheAccount(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		api := w.api("invoices", "a", "b")
		caller := w.agent("clerk", identity.RoleAuditorID, w.role("clerk", at(api.ID, "b", "a")).ID, w.role("empty").ID)
		got, err := w.GetWhoami(w.ctx, narrowed(caller, identity.PermAuditRead))
		w.must(err)
		want := []directory.HeldGrant{
			{ResourceServerID: api.ID, Audience: api.Identifier, Permissions: []string{"a", "b"}, Roles: []string{"clerk"}},
			{ResourceServerID: identity.ManagementResourceServerID, Audience: identity.ManagementIdentifier, Permissions: caller.Scopes, Roles: []string{"auditor"}},
		}
		if diff := cmp.Diff(want, got.Grants); diff != "" {
			t.Error(diff)
		}
		if got.Account.Name != "clerk" || got.Account.Owner == "" || len(got.Scopes) != 1 || got.CredentialID != caller.CredentialID {
			t.Errorf("%+v", got)
		}
	})
}
