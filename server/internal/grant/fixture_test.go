package grant

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clientauth"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
	"github.com/marque-id/marque/server/internal/token"
)

const (
	testAPI   = "https://invoices.example"
	closedAPI = "https://payroll.example" // exists, but grants nobody anything
	testRate  = 60                        // tokens a minute
)

// world is everything below HTTP, with one agent that may read and write
// invoices.
type world struct {
	t        testing.TB
	clock    *clock.Fake
	master   *keyring.MasterKeys
	store    *store.Store
	keys     *keyring.Keyring
	checker  *token.Checker
	refusals *limit.Refusals
	endpoint *Endpoint

	api    identity.ResourceServer
	id     string // of the agent
	secret identity.Secret
	credID string
	keyID  string
	key    identity.Secret // see newKey
	home   netip.Addr
}

func onEachDatabase(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	testkit.Databases(t, func(t *testing.T, url string) { fn(t, newWorld(t, url)) })
}

func newWorld(t testing.TB, url string, more ...Grant) *world {
	t.Helper()
	w := &world{t: t, clock: testkit.Clock(t), home: netip.MustParseAddr("192.0.2.10")}
	var err error
	w.master, err = keyring.ParseMasterKeys(keyring.GenerateMasterKey(1))
	w.must(err)
	w.start(url, more)

	w.api = w.resourceServer(testAPI)
	w.resourceServer(closedAPI)
	w.id = w.account("agent")
	w.credID, w.secret = w.newSecret(w.id)
	w.assign(w.role("clerk", "invoices:read", "invoices:write"), time.Time{})
	return w
}

// otherNode is the same world as another server on its database has it.
func (w *world) otherNode(url string) *world {
	w.t.Helper()
	other := *w
	other.start(url, nil)
	return &other
}

// start opens the database and builds what runs on it.
func (w *world) start(url string, more []Grant) {
	w.t.Helper()
	t := w.t
	w.store = testkit.Open(t, url, w.clock)
	var err error
	w.keys, err = keyring.Open(t.Context(), w.store, w.master, w.clock, nil)
	w.must(err)
	w.must(w.keys.Bootstrap(t.Context()))

	cfg := token.Config{Issuer: "https://marque.example", Store: w.store, Keys: w.keys, Clock: w.clock}
	issuer, err := token.NewIssuer(cfg)
	w.must(err)
	w.checker, err = token.NewChecker(cfg)
	w.must(err)
	w.refusals = limit.NewRefusals(w.clock)
	w.endpoint, err = New(Config{
		Store: w.store, Authenticator: clientauth.New(w.store, w.keys), Issuer: issuer,
		Failures: limit.NewFailures(limit.Options{Clock: w.clock}), Refusals: w.refusals,
		Rates: limit.NewRates(w.clock, testRate),
		Clock: w.clock, Grants: append(more, ClientCredentials()),
	})
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) change(typ audit.Type, fn func(ctx context.Context, tx *store.Tx) error) {
	w.t.Helper()
	testkit.Change(w.t, w.store, typ, fn)
}

func (w *world) resourceServer(identifier string) identity.ResourceServer {
	w.t.Helper()
	rs := identity.ResourceServer{
		ID: identity.NewID(identity.PrefixResourceServer, w.clock.Now()), Identifier: identifier, Name: "api",
		Permissions: []identity.Permission{{Name: "invoices:read"}, {Name: "invoices:write"}, {Name: "invoices:pay"}},
		SigningAlg:  "ES256",
	}
	w.change(audit.ResourceServerCreated, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertResourceServer(ctx, &rs)
	})
	return rs
}

func (w *world) account(name string) string {
	w.t.Helper()
	a := identity.ServiceAccount{
		ID: identity.NewID(identity.PrefixServiceAccount, w.clock.Now()), Name: name, Kind: identity.KindAgent,
		Owner: "tests", Status: identity.StatusActive,
	}
	w.change(audit.AccountCreated, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertServiceAccount(ctx, &a)
	})
	return a.ID
}

func (w *world) newSecret(account string) (id string, text identity.Secret) {
	w.t.Helper()
	text = identity.GenerateClientSecret()
	s := identity.ClientSecret{
		ID: identity.NewID(identity.PrefixClientSecret, w.clock.Now()), ServiceAccountID: account,
		Hint: identity.Hint(text), MAC: w.keys.SecretMAC(text.Reveal()),
	}
	w.change(audit.ClientSecretCreated, func(ctx context.Context, tx *store.Tx) error {
		return tx.InsertClientSecret(ctx, &s)
	})
	return s.ID, text
}

// newKey gives the agent an API key.
func (w *world) newKey(change ...func(*identity.APIKey)) {
	w.t.Helper()
	w.key = identity.GenerateAPIKey()
	k := identity.APIKey{
		ID: identity.NewID(identity.PrefixAPIKey, w.clock.Now()), ServiceAccountID: w.id, Name: "key",
		Hint: identity.Hint(w.key), MAC: w.keys.SecretMAC(w.key.Reveal()),
	}
	for _, fn := range change {
		fn(&k)
	}
	w.keyID = k.ID
	w.change(audit.APIKeyCreated, func(ctx context.Context, tx *store.Tx) error { return tx.InsertAPIKey(ctx, &k) })
}

func (w *world) role(name string, permissions ...string) string {
	w.t.Helper()
	r := identity.Role{ID: identity.NewID(identity.PrefixRole, w.clock.Now()), Name: name}
	for _, p := range permissions {
		r.Permissions = append(r.Permissions, identity.RolePermission{ResourceServerID: w.api.ID, Permission: p})
	}
	w.change(audit.RoleCreated, func(ctx context.Context, tx *store.Tx) error { return tx.InsertRole(ctx, &r) })
	return r.ID
}

func (w *world) assign(role string, expires time.Time) {
	w.t.Helper()
	w.change(audit.RoleAssigned, func(ctx context.Context, tx *store.Tx) error {
		_, err := tx.Assign(ctx, &identity.Assignment{ServiceAccountID: w.id, RoleID: role, ExpiresAt: expires})
		return err
	})
}

// changeAccount updates the agent's row.
func (w *world) changeAccount(fn func(*identity.ServiceAccount)) {
	w.t.Helper()
	w.change(audit.AccountUpdated, func(ctx context.Context, tx *store.Tx) error {
		a, err := tx.ServiceAccount(ctx, w.id)
		if err != nil {
			return err
		}
		fn(a)
		return tx.UpdateServiceAccount(ctx, a)
	})
}

// request is a good one by the agent, with parameters changed in pairs; an
// empty value takes the parameter away.
func (w *world) request(params ...string) *Request {
	r := &Request{
		Params:    Params{{Name: "grant_type", Value: "client_credentials"}, {Name: "resource", Value: testAPI}},
		Presented: clientauth.Presented{Method: clientauth.MethodForm, ClientID: w.id, Secret: w.secret},
		Meta:      Meta{Address: w.home, RequestID: identity.NewID(identity.PrefixRequest, w.clock.Now())},
	}
	for i := 0; i < len(params); i += 2 {
		r.Params = slices.DeleteFunc(r.Params, func(p clientauth.Param) bool { return p.Name == params[i] })
		if params[i+1] != "" {
			r.Params = append(r.Params, clientauth.Param{Name: params[i], Value: params[i+1]})
		}
	}
	return r
}

// as changes who sends a request.
func (r *Request) as(clientID string, secret identity.Secret) *Request {
	r.Presented.ClientID, r.Presented.Secret = clientID, secret
	return r
}

func (r *Request) from(addr string) *Request {
	r.Address = netip.MustParseAddr(addr)
	return r
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

// counted writes what has been counted and gives the counted events so far.
func (w *world) counted() []audit.Event {
	w.t.Helper()
	w.must(w.refusals.Flush(w.t.Context(), func(ctx context.Context, e audit.Event) error {
		return w.store.Record(ctx, store.Issuance{Event: e})
	}))
	return w.events(audit.RefusalsCounted)
}
