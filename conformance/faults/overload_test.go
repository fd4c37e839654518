package faults

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// TestOverload lets a crowd ask for four times what the server can do. It may
// refuse, in ways that say when to come back; whom it admits it serves about as
// fast as ever, and it does not grow.
//
// How fast, a few agents tell who ask in between, from a process of their own:
// the crowd's is short of time itself and reads its clock late. Its processor is
// theirs too, so what is ordinary for them is measured while that is as busy,
// with nothing. The crowd waits for each answer before it asks again, and
// refusals are held back, so that less is asked in the end than is asked for;
// how much is printed.
func TestOverload(t *testing.T) {
	shortCut(t)
	const (
		times  = 4
		number = 16    // of the few
		seldom = 800.0 // a second, of the few
		target = "only 200/429/503, refusals with Retry-After; p99 of the admitted ≤ 3 × idle; ≤ 256 MiB"

		crowd, agents = 10, 0 // niceness
	)
	length := inFull(15*time.Second, time.Second)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		o.CPU = 1 // the other processors are for those who ask
		o.Env["GOMAXPROCS"] = "1"
		s := start(t, o)
		ctx := t.Context()
		f := muster(ctx, t, s, 64)
		var requests [][]byte
		for _, a := range f.agents {
			requests = append(requests, a.request())
		}
		closed, err := fireApart(ctx, s, crowd, requests, 64, 0, inFull(5*time.Second, time.Second))
		must(t, err)
		capacity := float64(len(closed.ok)) / inFull(5.0, 1.0)

		// together lets the few ask while a crowd of so many does.
		together := func(connections int, length time.Duration) (of, few *shots) {
			shaking := inFull(3*time.Second, 100*time.Millisecond) // hands, with all of the crowd
			var errs [2]error
			var both sync.WaitGroup
			both.Go(func() {
				of, errs[0] = fireApart(ctx, s, crowd, requests, connections, capacity*times, shaking+length)
			})
			both.Go(func() {
				time.Sleep(shaking)
				few, errs[1] = fireApart(ctx, s, agents, requests, number, seldom, length)
			})
			both.Wait()
			must(t, errors.Join(errs[:]...))
			return of, few
		}
		_, idle := together(0, inFull(8*time.Second, time.Second))
		if !closed.only(200) || !idle.only(200) {
			t.Fatalf("before the fault: %v; %v", closed, idle)
		}
		over, admitted := together(inFull(1500, 100), length)
		_, peak := memory(t, s)
		for _, answers := range []*shots{over, admitted} {
			if !answers.only(http.StatusOK, http.StatusTooManyRequests, http.StatusServiceUnavailable) || answers.unsaid > 0 {
				t.Errorf("under overload: %v, %d without Retry-After", answers, answers.unsaid)
			}
		}
		if peak > 256 {
			t.Errorf("the server took %d MiB", peak)
		}
		verify(t, s)
		ordinary, meanwhile := percentile(idle.ok, 99), percentile(admitted.ok, 99)
		report(t, "overload, 4 × capacity", database,
			over.only(200, 429, 503) && over.unsaid == 0 && meanwhile <= 3*ordinary && peak <= 256, target,
			"%d × %.0f/s asked for, %.1f × answered: %v; %d of the few: p50 %s, p99 %s, idle %s, %s; %d MiB",
			times, capacity, float64(over.sum()+admitted.sum())/length.Seconds()/capacity, over,
			len(admitted.ok), ms(percentile(admitted.ok, 50)), ms(meanwhile), ms(percentile(idle.ok, 50)), ms(ordinary), peak)
	})
}
