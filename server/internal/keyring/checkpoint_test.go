package keyring

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// happen puts one more event into the record.
func happen(t testing.TB, st *store.Store) {
	t.Helper()
	err := st.InTx(t.Context(), func(tx *store.Tx) error {
		tx.Audit(audit.Event{Type: audit.SchemaMigrated, Outcome: audit.Success, Actor: audit.ActorSystem})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// opened reads, verifies and joins all checkpoints.
func opened(t testing.TB, k *Keyring) []audit.Checkpoint {
	t.Helper()
	var list []audit.Checkpoint
	var prev audit.SignedCheckpoint
	err := k.store.View(t.Context(), func(r *store.Reader) error {
		return r.Checkpoints(t.Context(), func(row audit.SignedCheckpoint) error {
			payload, err := k.OpenCheckpoint(row.Signed)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := audit.ParseCheckpoint(payload)
			if err != nil {
				t.Fatal(err)
			}
			if doc.Seq != prev.Seq+1 || doc.Prev != prev.Hash || row.Hash != doc.Hash() || row.Seq != doc.Seq {
				t.Errorf("checkpoint %d does not follow %d", doc.Seq, prev.Seq)
			}
			list, prev = append(list, doc), row
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func headsOf(t testing.TB, st *store.Store) map[audit.Head]bool {
	t.Helper()
	all := map[audit.Head]bool{}
	err := st.View(t.Context(), func(r *store.Reader) error {
		heads, _, err := r.AuditChains(t.Context(), store.Page{Size: 200})
		for _, h := range heads {
			all[h] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func checkpoint(t testing.TB, c *Checkpointer) bool {
	t.Helper()
	signed, err := c.Checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestACheckpointSignsTheHeadsOfTheChains(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		k := bootstrapped(t, st, masterKeys(t, 1))
		c := NewCheckpointer(k)
		if !checkpoint(t, c) {
			t.Fatal("nothing was signed")
		}
		if checkpoint(t, c) {
			t.Error("signed again though nothing has happened")
		}
		happen(t, st)
		if !checkpoint(t, c) {
			t.Error("a new event was not signed")
		}
		list := opened(t, k)
		if len(list) != 2 {
			t.Fatalf("%d checkpoints", len(list))
		}
		heads := headsOf(t, st)
		if len(list[1].Heads) != len(heads) || len(heads) == 0 {
			t.Errorf("%d heads signed of %d", len(list[1].Heads), len(heads))
		}
		for _, h := range list[1].Heads {
			if !heads[h] {
				t.Errorf("signed a head that is none: %v", h)
			}
		}
	})
}

func TestEveryMinuteThatHadEventsIsSigned(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		clk := testkit.Clock(t)
		k, err := Open(t.Context(), st, masterKeys(t, 1), clk, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Bootstrap(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			NewCheckpointer(k).Run(ctx)
		}()
		if err := clk.BlockUntilContext(ctx, 1); err != nil {
			t.Fatal(err)
		}
		for want := 1; want <= 2; want++ {
			clk.Advance(CheckpointInterval - time.Second)
			clk.Advance(time.Second)
			waitFor(t, func() bool { return len(opened(t, k)) == want })
			happen(t, st)
		}
		cancel()
		<-done
		if !checkpoint(t, NewCheckpointer(k)) {
			t.Error("the last events were not signed at the end")
		}
		if n := len(opened(t, k)); n != 3 {
			t.Errorf("%d checkpoints", n)
		}
	})
}

// waitFor asks until the condition holds. Each question reads the database, so
// the bound is far beyond what any machine needs.
func waitFor(t testing.TB, holds func() bool) {
	t.Helper()
	system := clock.System()
	for deadline := system.Now().Add(10 * time.Second); system.Now().Before(deadline); <-system.After(time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatal("never held")
}

// Nodes that sign at once take turns: numbers have no gap and no double.
func TestCheckpointsOfTwoNodesFormOneLine(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		m := masterKeys(t, 1)
		first := testkit.Open(t, url, testkit.Clock(t))
		second := first
		if first.Dialect() == "postgres" {
			second = testkit.Open(t, url, testkit.Clock(t))
		}
		one := bootstrapped(t, first, m)
		two := bootstrapped(t, second, m)
		for range 5 {
			happen(t, first)
			happen(t, second)
			var wg sync.WaitGroup
			for _, k := range []*Keyring{one, two} {
				wg.Go(func() {
					if _, err := NewCheckpointer(k).Checkpoint(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
		}
		list := opened(t, one)
		if len(list) < 5 || len(list) > 10 {
			t.Errorf("%d checkpoints", len(list))
		}
	})
}

func TestForeignCheckpointsDoNotOpen(t *testing.T) {
	t.Parallel()
	testkit.Stores(t, func(t *testing.T, st *store.Store) {
		k := bootstrapped(t, st, masterKeys(t, 1))
		token, err := k.Signer(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		own, err := k.CheckpointSigner()
		if err != nil {
			t.Fatal(err)
		}
		forged, err := jose.GenerateKey(jose.ES256, own.KeyID())
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			key *jose.PrivateKey
			typ string
		}{
			"signed with a key of tokens": {token.PrivateKey, audit.CheckpointType},
			"signed with a foreign key":   {forged, audit.CheckpointType},
			"of another type":             {own, "at+jwt"},
		} {
			text, err := jose.Sign(c.key, c.typ, []byte(`{}`))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.OpenCheckpoint(text); err == nil {
				t.Errorf("%s: opened", name)
			}
		}
	})
}
