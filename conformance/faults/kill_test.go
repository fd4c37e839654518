package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

const writers = 16

// TestKilledAtRandomMoments kills the server at random moments under load and
// then compares what it acknowledged with what it kept: nothing lost, nothing
// twice, nothing half there, exactly one audit event each, and a chain that
// verifies.
func TestKilledAtRandomMoments(t *testing.T) {
	shortCut(t)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		n := *kills
		if n == 0 {
			n = inFull(200, 8)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*15*time.Second+time.Minute)
		defer cancel()
		s, err := server.Start(ctx, o)
		must(t, err)
		f := muster(ctx, t, s, writers)

		working, rest := context.WithCancel(ctx)
		wait := f.work(working)
		var slowest time.Duration
		for range n {
			select {
			case <-time.After(50*time.Millisecond + rand.N(400*time.Millisecond)):
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			}
			f.current.Load().Kill()
			began := time.Now()
			s, err = server.Start(ctx, o)
			must(t, err)
			slowest = max(slowest, time.Since(began))
			f.current.Store(s)
		}
		rest()
		wait.Wait()
		// Calls that were cut off may still be at work in the last server, so it is
		// killed like the others: what is compared stands still.
		s.Kill()
		s, err = server.Start(ctx, o)
		must(t, err)
		defer s.Kill()

		found := compare(ctx, t, s, f, n)
		verify(t, s)
		report(t, fmt.Sprintf("kill -9, %d times", n), database, found.none() && slowest <= 2*time.Second,
			"0 lost, 0 twice, 1 event each, ready ≤ 2 s",
			"%v of %d tokens, %d accounts; slowest start %s", found, len(f.tokens), len(f.created), ms(slowest))
	})
}

// differences are what a server acknowledged and did not keep as it should.
type differences struct{ lost, twice, events int }

func (d differences) none() bool { return d == differences{} }

func (d differences) String() string {
	return fmt.Sprintf("%d lost, %d twice, %d not 1 event", d.lost, d.twice, d.events)
}

// compare holds what was acknowledged against what the server has.
func compare(ctx context.Context, t *testing.T, s *server.Server, f *fleet, least int) (d differences) {
	t.Helper()
	if len(f.tokens) < least || len(f.created) == 0 {
		t.Errorf("hardly any load: %d tokens, %d accounts", len(f.tokens), len(f.created))
	}
	issued, created := map[string]int{}, map[string]int{}
	for _, e := range list[event](ctx, t, s, f.admin, "/v1/audit-events") {
		switch e.Type {
		case "token.issued":
			issued[e.TokenID]++
		case "service_account.created":
			created[e.Account]++
		}
	}
	acknowledged := map[string]bool{}
	for _, id := range f.tokens {
		if acknowledged[id] {
			t.Errorf("the token %s was given out twice", id)
			d.twice++
		}
		acknowledged[id] = true
		if issued[id] == 0 {
			t.Errorf("the acknowledged token %s is not on record", id)
			d.lost++
		}
	}
	for id, n := range issued {
		if n != 1 {
			t.Errorf("the token %s has %d audit events", id, n)
			d.events++
		}
	}
	there := map[string]bool{}
	for _, a := range list[struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}](ctx, t, s, f.admin, "/v1/service-accounts") {
		if there[a.ID] {
			t.Errorf("the account %s is listed twice", a.ID)
			d.twice++
		}
		there[a.ID] = true
		if a.ID != s.AdminID && created[a.ID] != 1 {
			t.Errorf("the account %s (%s) has %d audit events", a.ID, a.Name, created[a.ID])
			d.events++
		}
	}
	for _, id := range f.created {
		if !there[id] {
			t.Errorf("the acknowledged account %s is lost", id)
			d.lost++
		}
	}
	for id := range created {
		if !there[id] {
			t.Errorf("the account %s has an audit event and is not there", id)
			d.events++
		}
	}
	return d
}
