package store_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func TestWhatOneNodeMakesTheOtherUsesWithinASecond(t *testing.T) {
	t.Parallel()
	here, there, _ := testkit.TwoNodes(t, clock.System())
	a := account("made-here")
	_, err := there.Principal(t.Context(), a.ID)
	wantCode(t, err, fault.CodeNotFound)
	write(t, here, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), a) })
	eventually(t, time.Second, "the account is known", func() bool {
		_, err := there.Principal(t.Context(), a.ID)
		return err == nil
	})
	c := newSecret(t, here, a.ID)
	eventually(t, time.Second, "the secret is known", func() bool {
		p, err := there.RefreshPrincipal(t.Context(), a.ID)
		if err != nil {
			return false
		}
		_, there := p.Credential(c.ID)
		return there
	})
}

func TestAStopIsSeenByTheOtherNodeWithinASecond(t *testing.T) {
	t.Parallel()
	here, there, _ := testkit.TwoNodes(t, clock.System())
	a := newAccount(t, here, "stop-me")
	eventually(t, time.Second, "the account is known", func() bool {
		_, err := there.Principal(t.Context(), a.ID)
		return err == nil
	})
	a.Status = identity.StatusDisabled
	write(t, here, func(tx *store.Tx) error { return tx.UpdateServiceAccount(t.Context(), a) })
	eventually(t, time.Second, "the account is disabled there", func() bool {
		return principal(t, there, a.ID).Account.Status == identity.StatusDisabled
	})
	jti := identity.NewID(identity.PrefixToken, clock.System().Now())
	write(t, here, func(tx *store.Tx) error {
		_, err := tx.RevokeToken(t.Context(), jti, a.ID, "", tx.Now.Add(time.Hour))
		return err
	})
	if !here.TokenRevoked(jti) {
		t.Error("not revoked on the node that revoked it")
	}
	eventually(t, time.Second, "the token is revoked there", func() bool { return there.TokenRevoked(jti) })
}

func TestWhatARoleGivesIsSeenByTheOtherNodeWithinASecond(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	here, there, _ := testkit.TwoNodes(t, clock.System())
	a := newAccount(t, here, "clerk")
	rs, role := newAPI(t, here, "api", "x:read", "x:write", "x:pay")
	assign(t, here, a.ID, role.ID, time.Time{})
	holds := func(s *store.Store) []string {
		p, err := s.Principal(ctx, a.ID)
		if err != nil {
			return nil
		}
		permissions, _ := p.Grants[rs.Identifier].At(clock.System().Now())
		return permissions
	}
	eventually(t, time.Second, "the role is known", func() bool { return len(holds(there)) == 3 })
	for _, step := range []struct {
		name string
		do   func(tx *store.Tx) error
		want []string
	}{
		{"the role shrank", func(tx *store.Tx) error {
			role.Permissions = role.Permissions[1:] // sorted: x:pay goes
			return tx.UpdateRole(ctx, role)
		}, []string{"x:read", "x:write"}},
		{"a permission was renamed and another removed", func(tx *store.Tx) error {
			return tx.ChangePermissions(ctx, rs, store.PermissionChanges{
				Rename: []identity.Renaming{{From: "x:read", To: "x:view"}}, Remove: []string{"x:write"},
			})
		}, []string{"x:view"}},
		{"the role was deleted", func(tx *store.Tx) error {
			now, err := tx.Role(ctx, role.ID)
			if err != nil {
				return err
			}
			return tx.DeleteRole(ctx, now)
		}, nil},
	} {
		write(t, here, step.do)
		if !slices.Equal(holds(here), step.want) {
			t.Errorf("%s, and here it may %v", step.name, holds(here))
		}
		eventually(t, time.Second, step.name, func() bool { return slices.Equal(holds(there), step.want) })
	}
	check(t, here)
}

func TestIssuanceIsStaleByWhatAnotherNodeHasChanged(t *testing.T) {
	t.Parallel()
	here, there, _ := testkit.TwoNodes(t, clock.System())
	a := newAccount(t, here, "racing")
	i := issuance(there, a.ID)
	write(t, here, func(tx *store.Tx) error { _, err := tx.BumpGeneration(t.Context(), a.ID); return err })
	outcomes := make([]error, 1)
	if err := there.CommitBatch(t.Context(), []*store.Issuance{&i}, outcomes); err != nil || outcomes[0] == nil {
		t.Fatalf("recorded on an old generation: %v, %v", err, outcomes)
	}
	// The batch has applied what it found: the next decision needs no waiting.
	i.Snapshot = there.Snapshot()
	if gen := principal(t, there, a.ID).Account.Gen; gen != 2 {
		t.Errorf("decided again by generation %d", gen)
	}
	outcomes[0] = nil
	if err := there.CommitBatch(t.Context(), []*store.Issuance{&i}, outcomes); err != nil || outcomes[0] != nil {
		t.Errorf("decided again: %v, %v", err, outcomes)
	}
}

func TestNoRevocationIsLostBetweenNodes(t *testing.T) {
	t.Parallel()
	here, there, _ := testkit.TwoNodes(t, clock.System())
	var mu sync.Mutex
	var revoked []string
	var group sync.WaitGroup
	for _, s := range []*store.Store{here, there} {
		for range 4 {
			group.Go(func() {
				for range 15 {
					jti := identity.NewID(identity.PrefixToken, clock.System().Now())
					write(t, s, func(tx *store.Tx) error {
						_, err := tx.RevokeToken(t.Context(), jti, "sa_x", "", tx.Now.Add(time.Hour))
						return err
					})
					mu.Lock()
					revoked = append(revoked, jti)
					mu.Unlock()
				}
			})
		}
	}
	group.Wait()
	for _, s := range []*store.Store{here, there} {
		eventually(t, time.Second, "all revocations are known", func() bool {
			for _, jti := range revoked {
				if !s.TokenRevoked(jti) {
					return false
				}
			}
			return true
		})
		if got := s.Snapshot(); got != int64(len(revoked)+seeded(t, here)) {
			t.Errorf("%d changes applied, %d revocations were made", got, len(revoked))
		}
	}
	check(t, here) // ids without gaps
}

// seeded counts the changes that the migration has made.
func seeded(t *testing.T, s *store.Store) int {
	t.Helper()
	n, err := s.CountChangesOtherThan(t.Context(), store.ChangedTokenRevoked)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRevocationsSurviveARestartAndGoWhenTheyExpire(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t)
		s := testkit.Open(t, url, clk)
		short, long := identity.NewID(identity.PrefixToken, testkit.Start()), identity.NewID(identity.PrefixToken, testkit.Start().Add(2*time.Hour))
		write(t, s, func(tx *store.Tx) error {
			for jti, life := range map[string]time.Duration{short: time.Hour, long: 24 * time.Hour} {
				if revoked, err := tx.RevokeToken(t.Context(), jti, "sa_x", "", tx.Now.Add(life)); err != nil || !revoked {
					t.Error(revoked, err)
				}
				if revoked, err := tx.RevokeToken(t.Context(), jti, "sa_x", "", tx.Now.Add(life)); err != nil || revoked {
					t.Error("revoked twice", err)
				}
			}
			return nil
		})
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		s = testkit.Open(t, url, clk)
		if !s.TokenRevoked(short) || !s.TokenRevoked(long) {
			t.Error("a revocation was forgotten by the restart")
		}
		clk.Advance(4 * time.Hour)
		if err := s.Maintain(t.Context(), func(m *store.Maintenance) error { return m.CleanUp(t.Context()) }); err != nil {
			t.Fatal(err)
		}
		if s.TokenRevoked(short) || !s.TokenRevoked(long) {
			t.Error("memory holds an expired revocation, or not a live one")
		}
		view(t, s, func(r *store.Reader) error {
			_, err := r.TokenRevocation(t.Context(), short)
			wantCode(t, err, fault.CodeNotFound)
			_, err = r.TokenRevocation(t.Context(), long)
			return err
		})
		newAccount(t, s, "after-clean-up") // the ids of changes go on where they were
		check(t, s)
		for _, odd := range []string{"", "tok_", "tok_x", "sa_00000000000000000000000000", "tok_i0000000000000000000000000", "tok_80000000000000000000000000", "tok_é000000000000000000000000"} {
			if s.TokenRevoked(odd) {
				t.Errorf("%q is revoked", odd)
			}
			wantCode(t, tryWrite(t, s, func(tx *store.Tx) error {
				_, err := tx.RevokeToken(t.Context(), odd, "sa_x", "", tx.Now)
				return err
			}), fault.CodeInvalidRequest)
		}
	})
}

func TestNodeThatWasAwayForTooLongStartsAnew(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		clk := testkit.Clock(t)
		s := testkit.Open(t, url, clk)
		a := newAccount(t, s, "cached")
		principal(t, s, a.ID)
		jti := identity.NewID(identity.PrefixToken, testkit.Start())
		// What others did while this node could not look, and the clean-up after it.
		for _, query := range []string{
			"UPDATE service_accounts SET gen = 7 WHERE id = '" + a.ID + "'",
			"INSERT INTO token_revocations VALUES ('" + jti + "', 'x', 1, " + strconv.FormatInt(testkit.Start().Add(time.Hour).UnixMicro(), 10) + ", '')",
			"DELETE FROM changes",
			"INSERT INTO changes VALUES (1000, 'role', 'x', 1)",
		} {
			if err := s.Exec(t.Context(), query); err != nil {
				t.Fatal(err)
			}
		}
		var all int
		s.OnChange(store.ChangedSigningKey, func(_ context.Context, id string) {
			if id == "" {
				all++
			}
		})
		if err := s.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if gen := principal(t, s, a.ID).Account.Gen; gen != 7 || !s.TokenRevoked(jti) || s.Snapshot() != 1000 || all == 0 {
			t.Errorf("generation %d, revoked %v, at %d, told %d times", gen, s.TokenRevoked(jti), s.Snapshot(), all)
		}
	})
}

func TestSubscribersHearOfChangesBeforeTheWriterReturns(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, s *store.Store) {
		var heard []string
		s.OnChange(store.ChangedSigningKey, func(_ context.Context, id string) { heard = append(heard, id) })
		key := &store.SigningKey{ID: "key_1", Use: store.KeyUseToken, Algorithm: "ES256", State: store.KeyActive, PublicJWK: []byte("{}"), Private: store.Sealed{MasterVersion: 1, WrappedKey: []byte{1}, Ciphertext: []byte{2}}}
		write(t, s, func(tx *store.Tx) error { return tx.InsertSigningKey(t.Context(), key) })
		if len(heard) != 1 || heard[0] != "key_1" {
			t.Fatalf("heard %v", heard)
		}
		second := *key
		second.ID = "key_2"
		wantKind(t, tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertSigningKey(t.Context(), &second) }), fault.KindConflict)
		second.State = store.KeyPrepared
		write(t, s, func(tx *store.Tx) error { return tx.InsertSigningKey(t.Context(), &second) })
		write(t, s, func(tx *store.Tx) error {
			key.State, second.State = store.KeyRetired, store.KeyActive
			if err := tx.UpdateSigningKey(t.Context(), key); err != nil {
				return err
			}
			if err := tx.UpdateSigningKey(t.Context(), &second); err != nil {
				return err
			}
			third := second
			third.ID, third.State = "key_3", store.KeyPrepared
			return tx.InsertSigningKey(t.Context(), &third)
		})
		stale := *key
		stale.Version = 1
		wantCode(t, tryWrite(t, s, func(tx *store.Tx) error { return tx.UpdateSigningKey(t.Context(), &stale) }), fault.CodePreconditionFailed)
		view(t, s, func(r *store.Reader) error {
			keys, err := r.SigningKeys(t.Context())
			if len(keys) != 3 || keys[0].State != store.KeyRetired || keys[1].State != store.KeyActive || string(keys[1].Private.Ciphertext) != "\x02" {
				t.Errorf("%+v", keys)
			}
			return err
		})
		check(t, s)
	})
}

func TestAChangeWhoseNotificationIsLostIsSeenWithinASecond(t *testing.T) {
	t.Parallel()
	here, there, _ := testkit.TwoNodes(t, clock.System())
	a := newAccount(t, here, "quiet")
	eventually(t, time.Second, "known", func() bool {
		_, err := there.Principal(t.Context(), a.ID)
		return err == nil && there.Snapshot() == here.Snapshot()
	})
	principal(t, there, a.ID)
	for _, q := range []string{
		"UPDATE service_accounts SET gen = 7 WHERE id = '" + a.ID + "'",
		"INSERT INTO changes SELECT MAX(id)+1, 'service_account', '" + a.ID + "', MAX(at) FROM changes",
	} {
		if err := here.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, time.Second, "a change whose notification is lost", func() bool { return principal(t, there, a.ID).Account.Gen == 7 })
}

func TestTheFollowerHasAConnectionOfItsOwn(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	here := testkit.Open(t, url, clock.System())
	there := testkit.OpenWith(t, store.Options{URL: url, Clock: clock.System(), MaxConns: 4})
	for range 4 {
		tx, err := there.Writer().BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
	}
	newAccount(t, here, "seen")
	eventually(t, time.Second, "a change is seen although the pool is taken", func() bool { return there.Snapshot() == here.Snapshot() })
}
