package httpapi

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of one request: it knows the call and ends with
// the request, at the latest at the deadline. Most requests are answered from
// memory and wait for nothing, so a timer is set only when somebody asks to be
// woken. It is context.WithDeadline then.
type callContext struct {
	call     *call
	deadline time.Time

	mu     sync.Mutex
	timed  context.Context // nil until it is asked for
	cancel context.CancelFunc
	ended  bool
}

// Deadline is when the request has taken too long.
func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, true }

// Done is closed at the deadline, or when the request has been answered.
func (c *callContext) Done() <-chan struct{} { return c.wait().Done() }

// Err says why Done is closed.
func (c *callContext) Err() error { return c.wait().Err() }

// Value gives the call. Other keys are those of package context itself, by which
// a child finds the timer to join.
func (c *callContext) Value(key any) any {
	if key == (callKey{}) {
		return c.call
	}
	return c.wait().Value(key)
}

func (c *callContext) wait() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(context.Background(), c.deadline)
		if c.ended {
			c.cancel()
		}
	}
	return c.timed
}

// end ends it: the request has been answered. asked tells whether somebody may
// have waited for that.
func (c *callContext) end() (asked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
	return c.timed != nil
}
