package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/server"
)

// TestPostgreSQLStoppedAtOnce ends the database under load, lets it stay away
// for a moment and starts it again. The server is not touched.
func TestPostgreSQLStoppedAtOnce(t *testing.T) {
	shortCut(t)
	n := inFull(50, 4)
	cluster, database := ownCluster(t, "")
	s := start(t, options(t, database))
	ctx := t.Context()
	f := muster(ctx, t, s, writers)

	working, rest := context.WithCancel(ctx)
	wait := f.work(working)
	var slowest time.Duration
	for range n {
		time.Sleep(100*time.Millisecond + rand.N(300*time.Millisecond))
		cluster.Crash()
		time.Sleep(rand.N(700 * time.Millisecond))
		must(t, cluster.Resume(ctx))
		slowest = max(slowest, eventually(t, 20*time.Second, "it serves again", func() error { return serves(ctx, s, f) }))
	}
	rest()
	wait.Wait()
	if !s.Running() {
		t.Fatal("the server has ended")
	}
	time.Sleep(2 * time.Second) // what was cut off has reached its deadline
	found := compare(ctx, t, s, f, n)
	verify(t, s)
	report(t, fmt.Sprintf("database stopped, %d times", n), postgreSQL, found.none() && slowest <= 5*time.Second,
		"0 lost, 0 twice, 1 event each, serving ≤ 5 s after it is back",
		"%v of %d tokens, %d accounts; slowest %s", found, len(f.tokens), len(f.created), ms(slowest))
}

// serves asks for each kind of work: a token, a change, a read.
func serves(ctx context.Context, s *server.Server, f *fleet) error {
	if err := f.token(ctx, f.agents[0]); err != nil {
		return err
	}
	if err := f.create(ctx, fmt.Sprintf("again-%d", time.Now().UnixNano())); err != nil {
		return err
	}
	return s.Call(ctx, f.admin, "GET", "/v1/service-accounts/"+f.agents[0].id, nil, nil)
}

// ownCluster is a PostgreSQL for one test that does harm to it, with its files
// below parent or where tests usually have them, and an empty database in it.
func ownCluster(t *testing.T, parent string) (*postgres.Cluster, string) {
	t.Helper()
	cluster, err := postgres.StartIn(t.Context(), parent)
	must(t, err)
	t.Cleanup(cluster.Stop)
	database, err := cluster.Database(t.Context())
	must(t, err)
	return cluster, database
}
