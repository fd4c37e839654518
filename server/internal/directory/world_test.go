package directory_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
	"github.com/marque-id/marque/server/internal/token"
)

// world is one installation with its first administrator.
type world struct {
	*directory.Service
	t     *testing.T
	ctx   context.Context
	clock *clock.Fake
	store *store.Store
	keys  *keyring.Keyring
	admin *token.Caller // the first administrator

	keeper *keyring.Keeper
	meta   directory.Meta

	assigner *token.Caller // see assigning
}

// worlds runs a test in a new world on each database.
func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := emptyWorld(t, url)
		account, _, err := w.BootstrapAdmin(w.ctx, false)
		w.must(err)
		w.admin = w.caller(account.ID)
		test(t, w)
		w.must(w.store.Check(w.ctx))
	})
}

func emptyWorld(t *testing.T, url string) *world {
	t.Helper()
	clk := testkit.Clock(t)
	return worldOn(t, testkit.Open(t, url, clk), clk, keyring.GenerateMasterKey(1))
}

// worldOn is a node on a store: a second one on the same database is another
// node of the same installation, if it has the same master key.
func worldOn(t *testing.T, st *store.Store, clk *clock.Fake, masterKey string) *world {
	t.Helper()
	master, err := keyring.ParseMasterKeys(masterKey)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Open(t.Context(), st, master, clk, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &world{
		Service: directory.New(st, keys, clk), t: t, ctx: t.Context(), clock: clk, store: st, keys: keys, keeper: keyring.NewKeeper(keys),
		meta: directory.Meta{
			RequestID: identity.NewID(identity.PrefixRequest, clk.Now()), Address: netip.MustParseAddr("192.0.2.7"),
		},
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// refused holds an error against the code that it must carry.
func (w *world) refused(err error, code fault.Code) {
	w.t.Helper()
	if !fault.Is(err, code) {
		w.t.Errorf("error = %v, want %s", err, code)
	}
}

// account makes an account without rights or secret.
func (w *world) account(name string) *identity.ServiceAccount {
	w.t.Helper()
	a, err := w.CreateServiceAccount(w.ctx, w.admin, w.meta, directory.NewServiceAccount{Name: name, Owner: "ops"})
	w.must(err)
	return a
}

// api makes a resource server that declares the permissions.
func (w *world) api(name string, permissions ...string) *identity.ResourceServer {
	w.t.Helper()
	in := directory.NewResourceServer{Name: name, Identifier: "https://" + name + ".example"}
	for _, p := range permissions {
		in.Permissions = append(in.Permissions, identity.Permission{Name: p})
	}
	rs, err := w.CreateResourceServer(w.ctx, w.admin, w.meta, in)
	w.must(err)
	return rs
}

// at names permissions of one resource server.
func at(resourceServerID string, permissions ...string) []identity.RolePermission {
	var out []identity.RolePermission
	for _, p := range permissions {
		out = append(out, identity.RolePermission{ResourceServerID: resourceServerID, Permission: p})
	}
	return out
}

// management names permissions of the management API.
func management(permissions ...string) []identity.RolePermission {
	return at(identity.ManagementResourceServerID, permissions...)
}

func (w *world) role(name string, permissions ...[]identity.RolePermission) *identity.Role {
	w.t.Helper()
	r, err := w.CreateRole(w.ctx, w.admin, w.meta, directory.NewRole{Name: name, Permissions: slices.Concat(permissions...)})
	w.must(err)
	return r
}

func (w *world) assign(accountID, roleID string, expiresAt time.Time) {
	w.t.Helper()
	_, err := w.AssignRole(w.ctx, w.admin, w.meta, accountID, roleID, directory.NewAssignment{ExpiresAt: expiresAt})
	w.must(err)
}

// agent makes an account with the roles and a secret, and signs it in.
func (w *world) agent(name string, roleIDs ...string) *token.Caller {
	w.t.Helper()
	a := w.account(name)
	for _, id := range roleIDs {
		w.assign(a.ID, id, time.Time{})
	}
	_, err := w.CreateClientSecret(w.ctx, w.admin, w.meta, a.ID, directory.NewClientSecret{})
	w.must(err)
	return w.caller(a.ID)
}

// caller signs an account in with its first live secret.
func (w *world) caller(accountID string) *token.Caller {
	w.t.Helper()
	p, err := w.store.Principal(w.ctx, accountID)
	w.must(err)
	now := w.clock.Now()
	i := slices.IndexFunc(p.Secrets, func(c identity.ClientSecret) bool { return c.Live(now) })
	if i < 0 {
		w.t.Fatalf("%s has no live secret", p.Account.Name)
	}
	return w.by(accountID, p.Secrets[i].ID)
}

// narrowed is the same caller with a token for fewer scopes.
func narrowed(c *token.Caller, scopes ...string) *token.Caller {
	out := *c
	out.Scopes = slices.Sorted(slices.Values(scopes))
	return &out
}

// events reads the whole audit log.
func (w *world) events() []audit.Event {
	w.t.Helper()
	var out []audit.Event
	for ask := (directory.PageRequest{Size: 200}); ; {
		p, err := w.ListAuditEvents(w.ctx, w.admin, directory.AuditEventFilter{}, ask)
		w.must(err)
		for _, l := range p.Items {
			out = append(out, l.Event)
		}
		if ask.Token = p.NextToken; ask.Token == "" {
			return out
		}
	}
}

// version reads the version of an account.
func (w *world) version(id string) int64 {
	w.t.Helper()
	a, err := w.GetServiceAccount(w.ctx, w.admin, id)
	w.must(err)
	return a.Version
}
