package audit

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
)

// CommitFunc writes a batch in one transaction and returns once it is durable.
// An error fails every request of the batch. A single request fails alone when
// the function sets its outcome (all are nil beforehand) and leaves it out of
// what it writes. ctx ends at the committer's Timeout, or when Close gives up;
// it is never that of one request.
type CommitFunc[T any] func(ctx context.Context, batch []T, outcomes []error) error

// CommitterOptions tune a committer; zero members take the defaults.
type CommitterOptions struct {
	Clock    clock.Clock   // required
	Gather   time.Duration // the longest wait for company: 1.5 ms
	MaxBatch int           // requests in one transaction: 256
	MaxQueue int           // requests waiting for their turn: 2048
	Timeout  time.Duration // of one commit: 10 s
	// Committed, when set, is told how each commit went.
	Committed func(requests int, took time.Duration, err error)
}

// ErrOutcomeUnknown is the private cause of a fault when the caller stopped
// waiting while its batch was being written: it may or may not be recorded.
// The answer must not claim success; a token made for it must not be given out.
var ErrOutcomeUnknown = errors.New("audit: stopped waiting while the batch was being committed")

var (
	errClosed    = errors.New("audit: the committer is closed")
	errQueueFull = errors.New("audit: the queue of the committer is full")
	errTimeout   = errors.New("audit: the commit took too long")
)

// Committer is a group commit: requests of many goroutines become one
// transaction, and each is answered only after that is durable, so that the
// cost of an fsync is shared and nothing acknowledged is ever lost.
//
// One goroutine commits. While more than one request is in flight it gathers
// for a moment; a lone one commits at once. In flight are requests that wait,
// and announced ones still on their way (see Announce). Draining the queue
// alone would group nothing on one core, where the committer runs as soon as
// the first request has blocked, before the second could arrive.
type Committer[T any] struct {
	commit  CommitFunc[T]
	options CommitterOptions
	wake    chan struct{} // holds one: look at the queue
	ended   chan struct{} // closed when the goroutine has ended
	stop    context.CancelCauseFunc
	life    context.Context

	mu       sync.Mutex
	queue    []*request[T]
	coming   int // announced, neither submitted nor given up
	expected int // in flight when the last batch ended: that batch, and who waited by then
	state    state
	closing  bool
}

// state is what the committing goroutine does, hence what it must be woken for.
type state uint8

const (
	committing state = iota // looks at the queue by itself afterwards
	idle                    // waits for the first request
	gathering               // waits for company
)

// request is one waiting Submit. taken and gone are guarded by Committer.mu.
type request[T any] struct {
	value T
	err   error
	done  chan struct{} // closed after err was set
	taken bool          // in a batch: too late to leave
	gone  bool          // left before it was taken: never committed
}

// NewCommitter starts a committer. Close ends it.
func NewCommitter[T any](o CommitterOptions, commit CommitFunc[T]) *Committer[T] {
	c := &Committer[T]{
		commit: commit, options: o.withDefaults(),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	c.life, c.stop = context.WithCancelCause(context.Background())
	go c.run()
	return c
}

func (o CommitterOptions) withDefaults() CommitterOptions {
	if o.Gather <= 0 {
		o.Gather = 1500 * time.Microsecond
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = 256
	}
	if o.MaxQueue <= 0 {
		o.MaxQueue = 2048
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}

// Submit queues v and waits until the batch that holds it is durable. It
// returns nil, the request's own outcome, or a fault: Unavailable with
// RetryAfter when the queue is full, the committer is closed, or ctx ended.
//
// A request whose ctx ends before its batch has begun is never committed. One
// whose ctx ends later is abandoned, not undone: it may still be committed, and
// the fault carries ErrOutcomeUnknown. Until Submit has returned anything else,
// v belongs to the committer.
//
// arrival is what Announce returned for this request, or nil.
func (c *Committer[T]) Submit(ctx context.Context, v T, arrival *Arrival) error {
	r := &request[T]{value: v, done: make(chan struct{})}
	if err := c.enqueue(r, arrival); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-r.done:
		return r.err // the batch ended in the same moment: its outcome is known
	default:
	}
	if r.taken {
		return fault.Unavailable(errors.Join(ErrOutcomeUnknown, context.Cause(ctx)))
	}
	r.gone = true
	return fault.Unavailable(context.Cause(ctx))
}

func (c *Committer[T]) enqueue(r *request[T], arrival *Arrival) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settle(arrival)
	switch {
	case c.closing:
		return fault.Unavailable(errClosed)
	case len(c.queue) >= c.options.MaxQueue:
		return fault.Unavailable(errQueueFull)
	}
	c.queue = append(c.queue, r)
	c.wakeIfDue()
	return nil
}

// Waiting is how many requests wait for a batch to take them.
func (c *Committer[T]) Waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

// Arrival is a request that will probably end in Submit.
type Arrival struct {
	leave   func(*Arrival)
	settled bool
}

// Announce tells that a request is on its way to Submit, so that others wait
// for it a moment. Its caller must pass the arrival to Submit, or call Leave;
// doing both is fine. Announcing is optional: without it, only requests that
// already wait count as in flight.
func (c *Committer[T]) Announce() *Arrival {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.coming++
	return &Arrival{leave: c.leave}
}

// Leave takes the announcement back, unless it was submitted.
func (a *Arrival) Leave() {
	if a != nil {
		a.leave(a)
	}
}

func (c *Committer[T]) leave(a *Arrival) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settle(a) {
		c.wakeIfDue()
	}
}

// settle ends an announcement once. The caller holds mu.
func (c *Committer[T]) settle(a *Arrival) bool {
	if a == nil || a.settled {
		return false
	}
	a.settled = true
	c.coming--
	return true
}

// Close refuses new requests, commits the waiting ones, and returns when the
// last batch is durable. When ctx ends first, the running commit is cancelled,
// what still waits fails, and the error of ctx is returned.
func (c *Committer[T]) Close(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	c.signal()
	c.mu.Unlock()
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		c.stop(errClosed) // not waited for: a commit deaf to its context must not hold the exit
		return context.Cause(ctx)
	}
}

// wakeIfDue wakes the goroutine when what it waits for is there. The caller
// holds mu.
func (c *Committer[T]) wakeIfDue() {
	if c.state == idle && len(c.queue) > 0 || c.state == gathering && c.complete() {
		c.signal()
	}
}

func (c *Committer[T]) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // one is waiting there already
	}
}
