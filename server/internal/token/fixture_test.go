package token

import (
	"context"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

const (
	testIssuer = "https://marque.example"
	testAPI    = "https://invoices.example"
)

// world is a store with keys, one API, and the three parts of this package.
type world struct {
	t       testing.TB
	clock   *clock.Fake
	store   *store.Store
	keys    *keyring.Keyring
	issuer  *Issuer
	checker *Checker
	service *Service
	api     identity.ResourceServer
}

func onEachDatabase(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	testkit.Databases(t, func(t *testing.T, url string) { fn(t, newWorld(t, url)) })
}

func newWorld(t testing.TB, url string) *world {
	t.Helper()
	w := &world{t: t, clock: testkit.Clock(t)}
	w.store = testkit.Open(t, url, w.clock)
	master, err := keyring.ParseMasterKeys(keyring.GenerateMasterKey(1))
	w.must(err)
	w.keys, err = keyring.Open(t.Context(), w.store, master, w.clock, nil)
	w.must(err)
	w.must(w.keys.Bootstrap(t.Context()))

	cfg := Config{Issuer: testIssuer, Store: w.store, Keys: w.keys, Clock: w.clock}
	w.issuer, err = NewIssuer(cfg)
	w.must(err)
	w.checker, err = NewChecker(cfg)
	w.must(err)
	w.service = NewService(w.checker)
	w.api = w.resourceServer(testAPI)
	return w
}

func newBenchWorld(b *testing.B) *world {
	b.Helper()
	return newWorld(b, testkit.SQLite(b))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// change runs a write with an event of the given type.
func (w *world) change(typ audit.Type, fn func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	testkit.Change(w.t, w.store, typ, fn)
}

func (w *world) resourceServer(identifier string, introspectors ...string) identity.ResourceServer {
	w.t.Helper()
	rs := identity.ResourceServer{
		ID: identity.NewID(identity.PrefixResourceServer, w.clock.Now()), Identifier: identifier, Name: "api",
		Permissions: []identity.Permission{{Name: "invoices:read"}, {Name: "invoices:write"}},
		SigningAlg:  string(jose.ES256), Introspectors: introspectors,
	}
	w.change(audit.ResourceServerCreated, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertResourceServer(ctx, &rs)
	})
	return rs
}

// agent is an account with one secret.
type agent struct {
	w      *world
	id     string
	secret identity.ClientSecret
}

func (w *world) agent(name string, roles ...string) *agent {
	w.t.Helper()
	account := identity.ServiceAccount{
		ID: identity.NewID(identity.PrefixServiceAccount, w.clock.Now()), Name: name, Kind: identity.KindAgent,
		Owner: "tests", Status: identity.StatusActive, Gen: 1,
	}
	w.change(audit.AccountCreated, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertServiceAccount(ctx, &account)
	})
	a := &agent{w: w, id: account.ID}
	a.secret = a.newSecret(time.Time{})
	for _, role := range roles {
		w.change(audit.RoleAssigned, func(ctx context.Context, tx *store.Tx) error {
			_, err := tx.Assign(ctx, &identity.Assignment{ServiceAccountID: a.id, RoleID: role})
			return err
		})
	}
	return a
}

func (a *agent) newSecret(expires time.Time) identity.ClientSecret {
	a.w.t.Helper()
	text := identity.GenerateClientSecret()
	s := identity.ClientSecret{
		ID: identity.NewID(identity.PrefixClientSecret, a.w.clock.Now()), ServiceAccountID: a.id,
		Hint: identity.Hint(text), MAC: a.w.keys.SecretMAC(text.Reveal()), ExpiresAt: expires,
	}
	a.w.change(audit.ClientSecretCreated, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertClientSecret(ctx, &s)
	})
	return s
}

func (a *agent) principal() *store.Principal {
	a.w.t.Helper()
	p, err := a.w.store.Principal(a.w.t.Context(), a.id)
	a.w.must(err)
	return p
}

// change updates the account's row.
func (a *agent) change(fn func(*identity.ServiceAccount)) {
	a.w.t.Helper()
	a.w.change(audit.AccountUpdated, func(ctx context.Context, tx *store.Tx) error {
		account, err := tx.ServiceAccount(ctx, a.id)
		if err != nil {
			return err
		}
		fn(account)
		return tx.UpdateServiceAccount(ctx, account)
	})
}

// stop revokes everything that was issued to the account so far.
func (a *agent) stop() {
	a.w.t.Helper()
	a.w.change(audit.AccountTokensRevoked, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.BumpGeneration(ctx, a.id)
		return err
	})
}

// request asks for a token for the API with the permission to read.
func (a *agent) request() Request {
	a.w.t.Helper()
	return Request{
		Account: &a.principal().Account, CredentialID: a.secret.ID, ResourceServer: &a.w.api,
		Granted: []string{"invoices:read", "invoices:write"}, Scopes: []string{"invoices:read"},
		Roles: []string{"clerk"}, Now: a.w.clock.Now(),
	}
}

// token mints for the API.
func (a *agent) token() Minted {
	a.w.t.Helper()
	m, err := a.w.issuer.Mint(a.request())
	a.w.must(err)
	return m
}

// managementToken mints for the management API, with all or some permissions.
func (a *agent) managementToken(scopes ...string) Minted {
	a.w.t.Helper()
	rs, err := a.w.store.ResourceServerByAudience(a.w.t.Context(), identity.ManagementIdentifier)
	a.w.must(err)
	r := a.request()
	r.ResourceServer = rs
	r.Granted, r.Roles = a.principal().Grants[identity.ManagementIdentifier].At(a.w.clock.Now())
	r.Scopes = r.Granted
	if len(scopes) > 0 {
		r.Scopes = scopes
	}
	m, err := a.w.issuer.Mint(r)
	a.w.must(err)
	return m
}

// caller is the account signed in by client authentication.
func (a *agent) caller() *Caller {
	a.w.t.Helper()
	p := a.principal()
	credential, ok := p.Credential(a.secret.ID)
	if !ok {
		a.w.t.Fatalf("%s has no %s", p.Account.Name, a.secret.ID)
	}
	caller := ClientCaller(p, &credential, a.w.clock.Now())
	return &caller
}

// events gives the recorded events of a type, in order.
func (w *world) events(typ audit.Type) (events []audit.Event) {
	w.t.Helper()
	w.must(w.store.View(w.t.Context(), func(r *store.Reader) error {
		return r.AuditLinks(w.t.Context(), w.store.AuditChain(), func(l audit.Link) error {
			if l.Event.Type == typ {
				events = append(events, l.Event)
			}
			return nil
		})
	}))
	return events
}
