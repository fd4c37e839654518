package limit_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/limit"
)

func newRefusals() (*limit.Refusals, *clock.Fake) {
	clk := clockwork.NewFakeClockAt(time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC))
	return limit.NewRefusals(clk), clk
}

// singles counts how many of n refusals are stored one by one.
func singles(r *limit.Refusals, n int, account string, addr netip.Addr) int {
	stored := 0
	for range n {
		if r.Single(account, addr, "invalid_client") {
			stored++
		}
	}
	return stored
}

// flush returns the counted event, or nil when nothing was counted.
func flush(t *testing.T, r *limit.Refusals) *audit.Event {
	t.Helper()
	var got *audit.Event
	err := r.Flush(t.Context(), func(_ context.Context, e audit.Event) error {
		got = &e
		return e.Validate()
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestTenRefusalsAMinuteAreStoredOneByOne(t *testing.T) {
	t.Parallel()
	r, clk := newRefusals()
	if got := singles(r, 25, account, here); got != 10 {
		t.Errorf("%d of 25 were stored", got)
	}
	if got := singles(r, 1, account, elsewhere); got != 1 {
		t.Error("another address shares the count")
	}
	if got := singles(r, 1, "sa_other", here); got != 1 {
		t.Error("another account shares the count")
	}
	clk.Advance(time.Minute - 1)
	if got := singles(r, 5, account, here); got != 0 {
		t.Errorf("%d more were stored within the minute", got)
	}
	clk.Advance(1)
	if got := singles(r, 25, account, here); got != 10 {
		t.Errorf("%d of 25 were stored in the next minute", got)
	}
	if e := flush(t, r); e == nil || e.Count != 15+5+15 {
		t.Errorf("counted %+v", e)
	}
}

func TestRefusalsOfUnknownClientsAreOnlyCounted(t *testing.T) {
	t.Parallel()
	r, clk := newRefusals()
	if got := singles(r, 100, "", here); got != 0 {
		t.Errorf("%d were stored", got)
	}
	if r.Single("", here, "rate_limited") {
		t.Error("stored")
	}
	want := &audit.Event{
		At: clk.Now(), Type: audit.RefusalsCounted, Outcome: audit.Success, Actor: audit.ActorSystem,
		Count: 101, Details: map[string]string{"invalid_client": "100", "rate_limited": "1"},
	}
	if d := cmp.Diff(want, flush(t, r), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("event (-want +got):\n%s", d)
	}
	if e := flush(t, r); e != nil {
		t.Errorf("nothing was refused since, yet %+v", e)
	}
}

func TestCountsSurviveAFailedWrite(t *testing.T) {
	t.Parallel()
	r, _ := newRefusals()
	singles(r, 3, "", here)
	down := errors.New("database down")
	if err := r.Flush(t.Context(), func(context.Context, audit.Event) error {
		singles(r, 2, "", here) // refused while the write was under way
		return down
	}); !errors.Is(err, down) {
		t.Errorf("got %v", err)
	}
	if e := flush(t, r); e == nil || e.Count != 5 {
		t.Errorf("counted %+v, want 5", e)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	t.Parallel()
	r, _ := newRefusals()
	for i := range 1000 {
		r.Single("", here, fmt.Sprintf("reason_%d", i))
	}
	r.Single("", here, "")
	e := flush(t, r)
	if len(e.Details) != 33 || e.Details["other"] != "969" || e.Count != 1001 {
		t.Errorf("%d reasons, %s others, %d in all", len(e.Details), e.Details["other"], e.Count)
	}
}

// Any number of accounts and addresses cannot fill the disk.
func TestStoredRefusalsAreBoundedInAll(t *testing.T) {
	t.Parallel()
	r, _ := newRefusals()
	stored := 0
	for i := range 100_000 {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if r.Single(account, addr, "invalid_client") {
			stored++
		}
	}
	if stored > 10_240 {
		t.Errorf("%d were stored in one minute", stored)
	}
}

func TestTheCountIsWrittenOnceAMinuteAndAtTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		clk := clock.System() // of the bubble
		r := limit.NewRefusals(clk)
		began := clk.Now()
		var log strings.Builder
		write := func(ctx context.Context, e audit.Event) error {
			if ctx.Err() != nil {
				t.Error("the last write was given a context that has ended")
			}
			fmt.Fprintf(&log, "%v %d\n", clk.Since(began), e.Count)
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Run(ctx, write); close(done) }()
		singles(r, 2, "", here)
		<-clk.After(90 * time.Second)
		singles(r, 3, "", here)
		<-clk.After(3 * time.Minute)
		singles(r, 4, "", here)
		cancel()
		<-done
		if d := cmp.Diff("1m0s 2\n2m0s 3\n4m30s 4\n", log.String()); d != "" {
			t.Errorf("written (-want +got):\n%s", d)
		}
	})
}
