package directory_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/keyring"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
	"github.com/marque-id/marque/server/internal/token"
)

// keyed is the meta of a request with a key; body stands for all that it asks for.
func (w *world) keyed(operation, key, body string) directory.Meta {
	m := w.meta
	m.Key = identity.RequestKey{Operation: operation, Key: key, Digest: sha256.Sum256([]byte(body))}
	return m
}

// creation is one of the changes that take a key, as a call that can be sent
// again as it is.
type creation struct {
	operation string
	event     audit.Type
	secret    bool // its answer has the text of a secret in it
	send      func(w *world, meta directory.Meta) (answer any, id string, err error)
}

// creations are all of them, each for things called by the name.
func creations(w *world, name string) []creation {
	w.t.Helper()
	account := w.account(name + "-there")
	rs := w.api(name+"-api", "a:b")
	end := w.clock.Now().Add(time.Hour)
	issued := func(s *directory.IssuedSecret, err error) (any, string, error) {
		if err != nil {
			return nil, "", err
		}
		return s.ClientSecret, s.ClientSecret.ID, nil
	}
	return []creation{
		{"service_accounts.create", audit.AccountCreated, false, func(w *world, meta directory.Meta) (any, string, error) {
			a, err := w.CreateServiceAccount(w.ctx, w.admin, meta, directory.NewServiceAccount{
				Name: name, DisplayName: "Ünïcode <&>", Description: "d", Kind: "job", Owner: "ops", Labels: map[string]string{"a": ""},
				ExpiresAt: end, TokenLifetime: time.Minute, TokenRateLimit: 7, DefaultResourceServer: rs.ID,
				AllowedNetworks: []string{"192.0.2.0/24", "::1/128"},
			})
			if err != nil {
				return nil, "", err
			}
			return a, a.ID, nil
		}},
		{"resource_servers.create", audit.ResourceServerCreated, false, func(w *world, meta directory.Meta) (any, string, error) {
			rs, err := w.CreateResourceServer(w.ctx, w.admin, meta, directory.NewResourceServer{
				Name: name, Identifier: "https://" + name + ".example", TokenLifetimeMax: time.Hour,
				Permissions:   []identity.Permission{{Name: "z:z", Description: "d"}, {Name: "a:a"}},
				Introspectors: []string{account.ID},
			})
			if err != nil {
				return nil, "", err
			}
			return rs, rs.ID, nil
		}},
		{"roles.create", audit.RoleCreated, false, func(w *world, meta directory.Meta) (any, string, error) {
			r, err := w.CreateRole(w.ctx, w.admin, meta, directory.NewRole{Name: name, Description: "d", Permissions: at(rs.ID, "a:b")})
			if err != nil {
				return nil, "", err
			}
			return r, r.ID, nil
		}},
		{"service_accounts.revoke_tokens", audit.AccountTokensRevoked, false, func(w *world, meta directory.Meta) (any, string, error) {
			a, err := w.RevokeServiceAccountTokens(w.ctx, w.admin, meta, account.ID)
			if err != nil {
				return nil, "", err
			}
			return a, a.ID, nil
		}},
		{"client_secrets.create", audit.ClientSecretCreated, true, func(w *world, meta directory.Meta) (any, string, error) {
			return issued(w.CreateClientSecret(w.ctx, w.admin, meta, account.ID, directory.NewClientSecret{ExpiresAt: end}))
		}},
		{"client_secrets.rotate", audit.ClientSecretRotated, true, func(w *world, meta directory.Meta) (any, string, error) {
			return issued(w.RotateClientSecret(w.ctx, w.admin, meta, account.ID, directory.Rotation{ExpiresAt: end}))
		}},
	}
}

// again holds what a request that is sent again is told against the first answer.
func (c *creation) again(w *world, meta directory.Meta, first any, id string) {
	w.t.Helper()
	second, _, err := c.send(w, meta)
	if c.secret {
		w.refused(err, fault.CodeSecretAlreadyIssued)
		if f := fault.From(err); f.ID != id || f.Kind != fault.KindConflict {
			w.t.Errorf("%s: %+v, want the id %s", c.operation, f, id)
		}
		return
	}
	if err != nil {
		w.t.Errorf("%s again: %v", c.operation, err)
		return
	}
	if diff := cmp.Diff(first, second, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		w.t.Errorf("%s: the second answer is not the first: %s", c.operation, diff)
	}
}

// count counts the events of a type.
func (w *world) count(typ audit.Type) int {
	w.t.Helper()
	n := 0
	for _, e := range w.events() {
		if e.Type == typ {
			n++
		}
	}
	return n
}

func TestARequestSentAgainGetsTheFirstAnswerAndDoesNothing(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		all := creations(w, "thing")
		answers, ids := make([]any, len(all)), make([]string, len(all))
		for i, c := range all {
			var err error
			answers[i], ids[i], err = c.send(w, w.keyed(c.operation, "k", "body"))
			w.must(err)
		}
		events, changes := len(w.events()), w.store.Snapshot()
		w.clock.Advance(23 * time.Hour) // the ends that were asked for are over
		for i, c := range all {
			for range 2 {
				c.again(w, w.keyed(c.operation, "k", "body"), answers[i], ids[i])
			}
			_, _, err := c.send(w, w.keyed(c.operation, "k", "other body"))
			w.refused(err, fault.CodeKeyReused)
			if f := fault.From(err); f.Kind != fault.KindUnprocessable {
				t.Errorf("%s: %+v", c.operation, f)
			}
		}
		if len(w.events()) != events || w.store.Snapshot() != changes {
			t.Error("what was sent again is recorded or announced")
		}
	})
}

func TestTheFirstAnswerOutlivesWhatBecameOfTheThing(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		create := creations(w, "thing")[0]
		meta := w.keyed(create.operation, "k", "body")
		first, id, err := create.send(w, meta)
		w.must(err)
		_, err = w.UpdateServiceAccount(w.ctx, w.admin, w.meta, id, nil, directory.ServiceAccountPatch{Owner: directory.PatchTo("else")})
		w.must(err)
		create.again(w, meta, first, id)
		w.must(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, id, nil))
		create.again(w, meta, first, id)
		_, err = w.GetServiceAccount(w.ctx, w.admin, id)
		w.refused(err, fault.CodeNotFound)
	})
}

func TestARequestThatFailedKeepsNothing(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		taken := w.account("taken")
		meta := w.keyed("service_accounts.create", "k", "body")
		in := directory.NewServiceAccount{Name: "taken", Owner: "ops"}
		_, err := w.CreateServiceAccount(w.ctx, w.admin, meta, in)
		w.refused(err, fault.CodeNameTaken)
		_, err = w.CreateServiceAccount(w.ctx, w.admin, w.keyed("service_accounts.create", "k", "no name"), directory.NewServiceAccount{Owner: "ops"})
		w.refused(err, fault.CodeInvalidRequest)
		w.must(w.DeleteServiceAccount(w.ctx, w.admin, w.meta, taken.ID, nil))
		a, err := w.CreateServiceAccount(w.ctx, w.admin, meta, in)
		w.must(err)
		again, err := w.CreateServiceAccount(w.ctx, w.admin, meta, in)
		w.must(err)
		if again.ID != a.ID {
			t.Errorf("made %s, then %s", a.ID, again.ID)
		}
	})
}

func TestAKeyBelongsToItsCallerAndItsOperation(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		other := w.agent("other", identity.RoleAdminID)
		create := func(caller *token.Caller, name string) string {
			a, err := w.CreateServiceAccount(w.ctx, caller, w.keyed("service_accounts.create", "k", name), directory.NewServiceAccount{Name: name, Owner: "ops"})
			w.must(err)
			return a.ID
		}
		if create(w.admin, "mine") == create(other, "theirs") {
			t.Error("two callers share a key")
		}
		_, err := w.CreateRole(w.ctx, w.admin, w.keyed("roles.create", "k", "role"), directory.NewRole{Name: "role"})
		w.must(err)
	})
}

func TestAKeyIsFreeAfterADay(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		cleanUp := func() {
			w.must(w.store.Maintain(w.ctx, func(m *store.Maintenance) error { return m.CleanUp(w.ctx) }))
		}
		revoke := func() int64 {
			t.Helper()
			a, err := w.RevokeServiceAccountTokens(w.ctx, w.admin, w.keyed("service_accounts.revoke_tokens", "k", "body"), w.admin.ClientID)
			w.must(err)
			w.admin = w.caller(w.admin.ClientID)
			return a.Gen
		}
		first := revoke()
		w.clock.Advance(24*time.Hour - time.Microsecond)
		cleanUp()
		if again := revoke(); again != first {
			t.Errorf("forgotten too early: generation %d, then %d", first, again)
		}
		w.clock.Advance(time.Microsecond)
		cleanUp()
		if again := revoke(); again != first+1 {
			t.Errorf("not free after a day: generation %d, then %d", first, again)
		}
	})
}

func TestWhoDoesNotStandAnyMoreGetsNoOldAnswer(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		gone := w.agent("gone", identity.RoleAdminID)
		meta := w.keyed("roles.create", "k", "body")
		create := func() error {
			_, err := w.CreateRole(w.ctx, gone, meta, directory.NewRole{Name: "role"})
			return err
		}
		w.must(create())
		w.must(create())
		_, err := w.DisableServiceAccount(w.ctx, w.admin, w.meta, gone.ClientID)
		w.must(err)
		w.refused(create(), fault.CodeInvalidToken)
	})
}

func TestNothingOfASecretIsKeptWithItsKey(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		a := w.account("a")
		create, rotate := w.keyed("client_secrets.create", "k", "body"), w.keyed("client_secrets.rotate", "k", "body")
		one, err := w.CreateClientSecret(w.ctx, w.admin, create, a.ID, directory.NewClientSecret{})
		w.must(err)
		two, err := w.RotateClientSecret(w.ctx, w.admin, rotate, a.ID, directory.Rotation{})
		w.must(err)
		w.must(w.store.View(w.ctx, func(r *store.Reader) error {
			for id, meta := range map[string]directory.Meta{one.ClientSecret.ID: create, two.ClientSecret.ID: rotate} {
				kept, err := r.FirstAnswer(w.ctx, w.admin.ClientID, meta.Key)
				if err != nil {
					return err
				}
				if kept.Subject != id || kept.Result != "" || kept.Key.Digest != meta.Key.Digest {
					t.Errorf("kept %+v", kept)
				}
				if text := fmt.Sprintf("%+v", kept); strings.Contains(text, "mqs_") || strings.Contains(text, fmt.Sprint(one.ClientSecret.MAC)) {
					t.Errorf("kept %s", text)
				}
			}
			return nil
		}))
	})
}

// oneOf sends one request from many sides at once, and gives the ids that it was
// answered with. Who is not answered is told that the first is running.
func oneOf(t *testing.T, nodes []*world, senders int) []string {
	t.Helper()
	ids := make([]string, senders)
	var group sync.WaitGroup
	for i := range ids {
		w := nodes[i%len(nodes)]
		group.Go(func() {
			a, err := w.CreateServiceAccount(w.ctx, w.admin, w.keyed("service_accounts.create", "k", "body"), directory.NewServiceAccount{Name: "only", Owner: "ops"})
			switch {
			case err == nil:
				ids[i] = a.ID
			case !fault.Is(err, fault.CodeKeyInProgress) || fault.From(err).RetryAfter == 0:
				t.Errorf("sender %d: %v", i, err)
			}
		})
	}
	group.Wait()
	answered := slices.DeleteFunc(ids, func(id string) bool { return id == "" })
	if len(answered) == 0 || len(slices.Compact(slices.Clone(answered))) != 1 {
		t.Errorf("answered %v", answered)
	}
	return answered
}

func TestOf32RequestsWithOneKeyOneIsCarriedOut(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		before := w.count(audit.AccountCreated)
		oneOf(t, []*world{w}, 32)
		if n := w.count(audit.AccountCreated) - before; n != 1 {
			t.Errorf("%d were made", n)
		}
		// The key is held for no longer than the request.
		if ids := oneOf(t, []*world{w}, 1); len(ids) != 1 {
			t.Error("the key is still held")
		}
	})
}

// twoNodes are two nodes of one installation.
func twoNodes(t *testing.T) (here, there *world) {
	t.Helper()
	clk := testkit.Clock(t)
	first, second, _ := testkit.TwoNodes(t, clk)
	key := keyring.GenerateMasterKey(1)
	here = worldOn(t, first, clk, key)
	account, _, err := here.BootstrapAdmin(here.ctx, false)
	here.must(err)
	there = worldOn(t, second, clk, key)
	here.admin = here.caller(account.ID)
	there.admin = here.admin
	return here, there
}

func TestARequestSentAgainToAnotherNodeGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	here, there := twoNodes(t)
	for _, c := range creations(here, "thing") {
		meta := here.keyed(c.operation, "k", "body")
		first, id, err := c.send(here, meta)
		here.must(err)
		c.again(there, meta, first, id)
		_, _, err = c.send(there, there.keyed(c.operation, "k", "other body"))
		there.refused(err, fault.CodeKeyReused)
	}
	here.must(here.store.Check(here.ctx))
}

func TestOf32RequestsWithOneKeyAtTwoNodesOneIsCarriedOut(t *testing.T) {
	t.Parallel()
	here, there := twoNodes(t)
	before := here.count(audit.AccountCreated)
	oneOf(t, []*world{here, there}, 32)
	if n := here.count(audit.AccountCreated) - before; n != 1 {
		t.Errorf("%d were made", n)
	}
	here.must(here.store.Check(here.ctx))
}

// What can go wrong with a commit: it fails, or it is done and nobody learns.
func TestARequestWhoseCommitWentWrongMayBeSentAgain(t *testing.T) {
	t.Parallel()
	for name, persisted := range map[string]bool{"failed": false, "failed but persisted": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testkit.Databases(t, func(t *testing.T, url string) {
				var wrong commits
				clk := testkit.Clock(t)
				st := testkit.OpenWith(t, store.Options{URL: url, Clock: clk, Commit: wrong.commit})
				w := worldOn(t, st, clk, keyring.GenerateMasterKey(1))
				account, _, err := w.BootstrapAdmin(w.ctx, false)
				w.must(err)
				w.admin = w.caller(account.ID)
				for _, c := range creations(w, "thing") {
					c.wentWrong(w, &wrong, persisted)
				}
				w.must(st.Check(w.ctx))
			})
		})
	}
}

func (c *creation) wentWrong(w *world, wrong *commits, persisted bool) {
	w.t.Helper()
	before := w.count(c.event)
	meta := w.keyed(c.operation, "k", "body")
	wrong.arm(persisted)
	_, _, err := c.send(w, meta)
	if !wrong.happened() || err == nil || fault.From(err).Kind != fault.KindUnavailable {
		w.t.Fatalf("%s: the commit went wrong, and the answer is %v", c.operation, err)
	}
	done := 0
	if persisted {
		done = 1
	}
	if n := w.count(c.event) - before; n != done {
		w.t.Errorf("%s: %d are done after the commit went wrong, want %d", c.operation, n, done)
	}
	first, id, err := c.send(w, meta)
	switch {
	case persisted && c.secret:
		w.refused(err, fault.CodeSecretAlreadyIssued)
		first, id = nil, fault.From(err).ID
	case err != nil:
		w.t.Fatalf("%s again: %v", c.operation, err)
	}
	if n := w.count(c.event) - before; n != 1 {
		w.t.Errorf("%s: %d are done after it was sent again", c.operation, n)
	}
	if recorded := w.events(); !slices.ContainsFunc(recorded, func(e audit.Event) bool { return e.Type == c.event && e.Subject == id }) {
		w.t.Errorf("%s: no event has the id %q of the answer", c.operation, id)
	}
	c.again(w, meta, first, id)
}

// commits lets one commit go wrong.
type commits struct {
	mu        sync.Mutex
	armed     bool
	persisted bool
}

func (c *commits) arm(persisted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed, c.persisted = true, persisted
}

func (c *commits) happened() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.armed
}

func (c *commits) commit(commit func() error) error {
	c.mu.Lock()
	armed, persisted := c.armed, c.persisted
	c.armed = false
	c.mu.Unlock()
	if !armed {
		return commit()
	}
	if persisted {
		if err := commit(); err != nil {
			return err
		}
	}
	return io.ErrUnexpectedEOF // the connection was cut
}
