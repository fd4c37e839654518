package audit_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
)

const gather = 1500 * time.Microsecond

// book is the other side of a committer: it notes the batches, and can be held
// up or made to fail.
type book struct {
	*audit.Committer[int]
	clock clock.Clock

	mu      sync.Mutex
	batches [][]int
	hold    chan struct{} // a commit waits until it can receive
	fail    func(batch []int, outcomes []error) error
}

// newBook must be called inside a synctest bubble, where the system's clock is
// a fake one that moves when every goroutine waits.
func newBook(t *testing.T, o audit.CommitterOptions) *book {
	b := &book{clock: clock.System()}
	o.Clock = b.clock
	b.Committer = audit.NewCommitter(o, b.commit)
	t.Cleanup(func() { _ = b.Close(context.Background()) })
	return b
}

func (b *book) commit(ctx context.Context, batch []int, outcomes []error) error {
	b.mu.Lock()
	b.batches = append(b.batches, append([]int(nil), batch...))
	hold, fail := b.hold, b.fail
	b.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if fail != nil {
		return fail(batch, outcomes)
	}
	return nil
}

func (b *book) sizes() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []int
	for _, batch := range b.batches {
		out = append(out, len(batch))
	}
	return out
}

// submit starts Submit in the background; the result arrives in the channel.
func (b *book) submit(ctx context.Context, v int, a *audit.Arrival) <-chan error {
	result := make(chan error, 1)
	go func() { result <- b.Submit(ctx, v, a) }()
	return result
}

// blocked returns a book whose first commit is under way and held.
func blocked(t *testing.T, o audit.CommitterOptions) (*book, <-chan error) {
	b := newBook(t, o)
	b.hold = make(chan struct{})
	first := b.submit(t.Context(), 0, nil)
	synctest.Wait()
	return b, first
}

// release ends the hold, also for later commits.
func (b *book) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.hold)
	b.hold = nil
}

func TestALoneRequestCommitsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t, audit.CommitterOptions{})
		began := b.clock.Now()
		for i := range 5 {
			if err := b.Submit(t.Context(), i, nil); err != nil {
				t.Fatal(err)
			}
		}
		a := b.Announce()
		if err := b.Submit(t.Context(), 5, a); err != nil {
			t.Fatal(err)
		}
		a.Leave() // does nothing any more
		if d := b.clock.Since(began); d != 0 {
			t.Errorf("six lone requests waited %v", d)
		}
		if d := cmp.Diff([]int{1, 1, 1, 1, 1, 1}, b.sizes()); d != "" {
			t.Errorf("batches (-want +got):\n%s", d)
		}
	})
}

func TestRequestsThatArriveDuringACommitShareTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, first := blocked(t, audit.CommitterOptions{})
		results := []<-chan error{first}
		for i := 1; i <= 20; i++ {
			results = append(results, b.submit(t.Context(), i, nil))
		}
		synctest.Wait()
		b.release()
		for _, r := range results {
			if err := <-r; err != nil {
				t.Error(err)
			}
		}
		if d := cmp.Diff([]int{1, 20}, b.sizes()); d != "" {
			t.Errorf("batches (-want +got):\n%s", d)
		}
	})
}

func TestTheWaitForCompanyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t, audit.CommitterOptions{})
		late := b.Announce() // and is never submitted
		began := b.clock.Now()
		if err := b.Submit(t.Context(), 1, nil); err != nil {
			t.Fatal(err)
		}
		if d := b.clock.Since(began); d != gather {
			t.Errorf("waited %v, want %v", d, gather)
		}
		late.Leave()
	})
}

func TestAnnouncedRequestsAreWaitedForAndNoLonger(t *testing.T) {
	t.Parallel()
	for name, arrive := range map[string]struct {
		then func(b *book, t *testing.T, a *audit.Arrival) error
		want []int
	}{
		"the announced one arrives":  {func(b *book, t *testing.T, a *audit.Arrival) error { return b.Submit(t.Context(), 2, a) }, []int{2}},
		"the announced one gives up": {func(_ *book, _ *testing.T, a *audit.Arrival) error { a.Leave(); a.Leave(); return nil }, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBook(t, audit.CommitterOptions{})
				began := b.clock.Now()
				coming := b.Announce()
				first := b.submit(t.Context(), 1, nil)
				synctest.Wait()
				if n := len(b.sizes()); n != 0 {
					t.Fatalf("%d commits before the announced request had a chance", n)
				}
				if err := arrive.then(b, t, coming); err != nil {
					t.Error(err)
				}
				if err := <-first; err != nil {
					t.Error(err)
				}
				if d := b.clock.Since(began); d != 0 {
					t.Errorf("waited %v although nobody was on the way any more", d)
				}
				if d := cmp.Diff(arrive.want, b.sizes()); d != "" {
					t.Errorf("batches (-want +got):\n%s", d)
				}
			})
		})
	}
}

// Many callers that ask again as soon as they are answered: the committer
// learns how many they are and then groups nearly all of them.
func TestConcurrentCallersAreGrouped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const callers, rounds = 64, 50
		b := newBook(t, audit.CommitterOptions{})
		b.fail = func([]int, []error) error {
			<-b.clock.After(200 * time.Microsecond) // an fsync
			return nil
		}
		var group sync.WaitGroup
		for c := range callers {
			group.Go(func() {
				for range rounds {
					if err := b.Submit(t.Context(), c, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		if n := len(b.sizes()); n > 3*rounds {
			t.Errorf("%d requests took %d commits: %.1f in each", callers*rounds, n, float64(callers*rounds)/float64(n))
		}
	})
}

func TestABatchIsNoLargerThanItsBound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := blocked(t, audit.CommitterOptions{MaxBatch: 8})
		var results []<-chan error
		for i := range 20 {
			results = append(results, b.submit(t.Context(), i, nil))
		}
		synctest.Wait()
		b.release()
		for _, r := range results {
			if err := <-r; err != nil {
				t.Error(err)
			}
		}
		if d := cmp.Diff([]int{1, 8, 8, 4}, b.sizes()); d != "" {
			t.Errorf("batches (-want +got):\n%s", d)
		}
	})
}

func TestAFullQueueRefusesAtOnceAndTellsWhenToComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := blocked(t, audit.CommitterOptions{MaxQueue: 2})
		waiting := []<-chan error{b.submit(t.Context(), 1, nil), b.submit(t.Context(), 2, nil)}
		synctest.Wait()
		err := b.Submit(t.Context(), 3, nil)
		if f := fault.From(err); f.Kind != fault.KindUnavailable || f.RetryAfter <= 0 {
			t.Errorf("got %v", err)
		}
		b.release()
		for _, r := range waiting {
			if err := <-r; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestARequestThatLeavesBeforeItsBatchIsNeverCommitted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, first := blocked(t, audit.CommitterOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		left := b.submit(ctx, 1, nil)
		synctest.Wait()
		cancel()
		err := <-left
		if f := fault.From(err); f.Kind != fault.KindUnavailable || !errors.Is(err, context.Canceled) || errors.Is(err, audit.ErrOutcomeUnknown) {
			t.Errorf("got %v", err)
		}
		b.release()
		if err := <-first; err != nil {
			t.Error(err)
		}
		if err := b.Submit(t.Context(), 2, nil); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([][]int{{0}, {2}}, b.batches); d != "" {
			t.Errorf("batches (-want +got):\n%s", d)
		}
	})
}

func TestARequestThatLeavesDuringItsBatchDoesNotKnowItsOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t, audit.CommitterOptions{})
		b.hold = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		result := b.submit(ctx, 1, nil)
		synctest.Wait()
		cancel()
		err := <-result
		if f := fault.From(err); f.Kind != fault.KindUnavailable || !errors.Is(err, audit.ErrOutcomeUnknown) {
			t.Errorf("got %v", err)
		}
		b.release()
	})
}

func TestAFailedCommitFailsItsWholeBatchAndNothingElse(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	for name, c := range map[string]struct {
		fail func([]int, []error) error
		kind fault.Kind
		says string
	}{
		"plain error": {func([]int, []error) error { return full }, fault.KindUnavailable, "disk full"},
		"fault":       {func([]int, []error) error { return fault.Internal(full) }, fault.KindInternal, "disk full"},
		"panic":       {func([]int, []error) error { panic("oh no") }, fault.KindInternal, "oh no"},
		"outcomes do not count": {func(_ []int, outcomes []error) error {
			outcomes[0] = errors.New("stale")
			return full
		}, fault.KindUnavailable, "disk full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b, first := blocked(t, audit.CommitterOptions{})
				results := []<-chan error{b.submit(t.Context(), 1, nil), b.submit(t.Context(), 2, nil)}
				synctest.Wait()
				b.fail = func(batch []int, outcomes []error) error {
					if batch[0] == 3 {
						return nil
					}
					return c.fail(batch, outcomes)
				}
				b.release()
				if err := <-first; err != nil {
					t.Error(err)
				}
				for _, r := range results {
					err := <-r
					if f := fault.From(err); f.Kind != c.kind || !strings.Contains(err.Error(), c.says) {
						t.Errorf("got %v", err)
					}
				}
				if err := b.Submit(t.Context(), 3, nil); err != nil {
					t.Errorf("the next batch: %v", err)
				}
			})
		})
	}
}

func TestOneRequestMayFailAlone(t *testing.T) {
	t.Parallel()
	stale := errors.New("stale")
	synctest.Test(t, func(t *testing.T) {
		b, _ := blocked(t, audit.CommitterOptions{})
		good, bad := b.submit(t.Context(), 1, nil), b.submit(t.Context(), 2, nil)
		synctest.Wait()
		b.fail = func(batch []int, outcomes []error) error {
			for i, v := range batch {
				if v == 2 {
					outcomes[i] = stale
				}
			}
			return nil
		}
		b.release()
		if err := <-good; err != nil {
			t.Error(err)
		}
		if err := <-bad; !errors.Is(err, stale) {
			t.Errorf("got %v", err)
		}
	})
}

func TestACommitHasALimitedTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(t, audit.CommitterOptions{Timeout: 3 * time.Second})
		b.hold = make(chan struct{})
		began := b.clock.Now()
		err := b.Submit(t.Context(), 1, nil)
		if f := fault.From(err); f.Kind != fault.KindUnavailable || b.clock.Since(began) != 3*time.Second {
			t.Errorf("after %v: %v", b.clock.Since(began), err)
		}
		b.release()
		if err := b.Submit(t.Context(), 2, nil); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestCloseCommitsWhatWaitsAndThenRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, first := blocked(t, audit.CommitterOptions{MaxBatch: 2})
		results := []<-chan error{first}
		for i := 1; i <= 5; i++ {
			results = append(results, b.submit(t.Context(), i, nil))
		}
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- b.Close(t.Context()) }()
		synctest.Wait()
		if f := fault.From(b.Submit(t.Context(), 9, nil)); f == nil || f.Kind != fault.KindUnavailable || f.RetryAfter <= 0 {
			t.Errorf("a request after Close: %v", f)
		}
		b.release()
		if err := <-closed; err != nil {
			t.Error(err)
		}
		for _, r := range results {
			if err := <-r; err != nil {
				t.Error(err)
			}
		}
		if err := b.Close(t.Context()); err != nil {
			t.Errorf("closing twice: %v", err)
		}
	})
}

func TestCloseGivesUpWhenItsTimeEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, first := blocked(t, audit.CommitterOptions{})
		second := b.submit(t.Context(), 1, nil)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		for _, r := range []<-chan error{first, second} {
			if f := fault.From(<-r); f == nil || f.Kind != fault.KindUnavailable {
				t.Errorf("a request that Close gave up: %v", f)
			}
		}
	})
}

func TestArrivalOfNobodyMayLeave(t *testing.T) {
	t.Parallel()
	var a *audit.Arrival
	a.Leave()
}

// They come back one after the other; who is left alone does not wait for those
// who stayed away.
func TestThoseAnsweredTogetherShareTheNextCommit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, first := blocked(t, audit.CommitterOptions{})
		results := []<-chan error{b.submit(t.Context(), 1, nil), b.submit(t.Context(), 2, nil), b.submit(t.Context(), 3, nil), b.submit(t.Context(), 4, nil)}
		synctest.Wait()
		b.release()
		for _, r := range append(results, first) {
			if err := <-r; err != nil {
				t.Error(err)
			}
		}
		results = nil
		held := b.Announce() // so that neither of the two is alone
		results = append(results, b.submit(t.Context(), 5, nil), b.submit(t.Context(), 6, nil))
		synctest.Wait()
		held.Leave()
		for i := 7; i <= 8; i++ {
			<-b.clock.After(100 * time.Microsecond)
			results = append(results, b.submit(t.Context(), i, nil))
		}
		for _, r := range results {
			if err := <-r; err != nil {
				t.Error(err)
			}
		}
		began := b.clock.Now()
		if err := b.Submit(t.Context(), 9, nil); err != nil {
			t.Error(err)
		}
		if d := b.clock.Since(began); d != 0 {
			t.Errorf("a lone one waited %v", d)
		}
		if d := cmp.Diff([]int{1, 4, 4, 1}, b.sizes()); d != "" {
			t.Errorf("batches (-want +got):\n%s", d)
		}
	})
}
