package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/marque-id/marque/server/internal/fault"
)

// run commits batch after batch until the committer is closed and its queue
// empty, or until Close gave up.
func (c *Committer[T]) run() {
	defer close(c.ended)
	for {
		batch, more := c.next()
		if !more {
			return
		}
		if len(batch) > 0 {
			c.write(batch)
		}
	}
}

// next waits for requests and takes a batch of them. It returns false when
// there will be none any more.
func (c *Committer[T]) next() (batch []*request[T], more bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() { c.state = committing }()

	for c.state = idle; len(c.queue) == 0; {
		if c.closing {
			return nil, false
		}
		c.pause(func() { <-c.wake })
	}
	// Every goroutine that is ready to run gets its turn before the queue is
	// judged. It costs a lone request some hundred nanoseconds; on one core it
	// is what lets the rest of a burst arrive.
	c.state = committing
	c.pause(runtime.Gosched)
	if !c.complete() {
		c.gather()
	}
	return c.take(), true
}

// gather waits until the batch is complete, but no longer than Gather.
func (c *Committer[T]) gather() {
	late := c.options.Clock.NewTimer(c.options.Gather)
	defer late.Stop()
	expired := false
	for c.state = gathering; !expired && !c.complete(); {
		c.pause(func() {
			select {
			case <-c.wake:
			case <-late.Chan():
				expired = true
			}
		})
	}
}

// complete reports whether waiting for further requests is pointless: the batch
// is full, or everybody in flight is here. Those answered a moment ago may be
// back with their next request, hence as many are awaited as were in flight
// then; but never by a request that is alone. The caller holds mu.
func (c *Committer[T]) complete() bool {
	waiting := len(c.queue)
	switch {
	case c.closing || waiting >= c.options.MaxBatch:
		return true
	case c.coming > 0:
		return false
	default:
		return waiting == 1 || waiting >= c.expected
	}
}

// pause runs wait without the lock.
func (c *Committer[T]) pause(wait func()) {
	c.mu.Unlock()
	defer c.mu.Lock()
	wait()
}

// take moves requests from the queue into a batch, leaving out those whose
// callers have gone. The caller holds mu.
func (c *Committer[T]) take() []*request[T] {
	batch := make([]*request[T], 0, min(len(c.queue), c.options.MaxBatch))
	n := 0
	for ; n < len(c.queue) && len(batch) < c.options.MaxBatch; n++ {
		if r := c.queue[n]; !r.gone {
			r.taken = true
			batch = append(batch, r)
		}
	}
	rest := copy(c.queue, c.queue[n:])
	clear(c.queue[rest:])
	c.queue = c.queue[:rest]
	return batch
}

// write commits a batch and answers its requests. A crash before the commit
// leaves nothing of the batch and no answer; a crash after it leaves events
// whose callers saw the connection break, never an answer without its event.
func (c *Committer[T]) write(batch []*request[T]) {
	values := make([]T, len(batch))
	for i, r := range batch {
		values[i] = r.value
	}
	outcomes := make([]error, len(batch))
	began := c.options.Clock.Now()
	err := c.call(values, outcomes)
	if c.options.Committed != nil {
		c.options.Committed(len(batch), c.options.Clock.Since(began), err)
	}

	c.mu.Lock()
	c.expected = len(batch) + len(c.queue)
	c.mu.Unlock()
	for i, r := range batch {
		if r.err = outcomes[i]; err != nil {
			r.err = err
		}
		close(r.done)
	}
}

// call runs the commit function within its time, and turns what it returns or
// panics with into a fault.
func (c *Committer[T]) call(values []T, outcomes []error) (err error) {
	if c.life.Err() != nil {
		return fault.Unavailable(context.Cause(c.life))
	}
	ctx, cancel := context.WithCancelCause(c.life)
	defer cancel(nil)
	late := c.options.Clock.AfterFunc(c.options.Timeout, func() { cancel(errTimeout) })
	defer late.Stop()
	defer func() {
		if p := recover(); p != nil {
			err = fault.Internal(fmt.Errorf("audit: panic in a commit: %v\n%s", p, debug.Stack()))
		}
	}()
	return unavailable(c.commit(ctx, values, outcomes))
}

// unavailable keeps a fault and makes any other failure one that passes: an
// audit that cannot be written means no token, now.
func unavailable(err error) error {
	if f := new(fault.Error); err == nil || errors.As(err, &f) {
		return err
	}
	return fault.Unavailable(err)
}
