package faults

import (
	"net/http"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// TestOverload offers four times what the server can do. It may refuse, in ways
// that say when to come back; whom it admits it serves about as fast as ever,
// and it does not grow.
func TestOverload(t *testing.T) {
	shortCut(t)
	const (
		times  = 4
		target = "only 200/429/503, refusals with Retry-After; p99 of the admitted ≤ 3 × idle; ≤ 256 MiB"
	)
	length := inFull(15*time.Second, time.Second)
	connections := inFull(1500, 100)
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
		closed, err := fire(ctx, s, requests, inFull(256, 100), 0, inFull(5*time.Second, time.Second))
		must(t, err)
		capacity := float64(len(closed.ok)) / inFull(5.0, 1.0)
		// Idle is a tenth of what it can do.
		idle, err := fire(ctx, s, requests, 16, capacity/10, inFull(5*time.Second, time.Second))
		must(t, err)
		if !closed.only(200, 429, 503) || !idle.only(200) {
			t.Fatalf("before the fault: %v; %v", closed, idle)
		}

		over, err := fire(ctx, s, requests, connections, capacity*times, length)
		must(t, err)
		_, peak := memory(t, s)
		if !over.only(http.StatusOK, http.StatusTooManyRequests, http.StatusServiceUnavailable) || over.unsaid > 0 {
			t.Errorf("under overload: %v, %d without Retry-After", over, over.unsaid)
		}
		if peak > 256 {
			t.Errorf("the server took %d MiB", peak)
		}
		verify(t, s)
		ordinary, admitted := percentile(idle.ok, 99), percentile(over.ok, 99)
		offered := float64(over.sum()) / length.Seconds()
		report(t, "overload, 4 × capacity", database,
			over.only(200, 429, 503) && over.unsaid == 0 && admitted <= 3*ordinary && peak <= 256 && offered >= (times-0.4)*capacity, target,
			"offered %.1f × %.0f/s: %v, %d without Retry-After; p99 %s, idle %s; %d MiB",
			offered/capacity, capacity, over, over.unsaid, ms(admitted), ms(ordinary), peak)
	})
}
