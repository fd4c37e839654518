package marque

import (
	"context"
	"sync/atomic"
)

// flight is one request that any number of callers await. It belongs to none of
// them: it runs in a goroutine of its own, on a context of its own.
type flight[T any] struct {
	waiters atomic.Int32
	done    chan struct{}
	value   T // set before done is closed, as is err
	err     error
}

func newFlight[T any]() *flight[T] { return &flight[T]{done: make(chan struct{})} }

// wait waits for the flight, or for the end of the caller's own context. The
// caller has added itself to waiters.
func (f *flight[T]) wait(ctx context.Context, operation string) (T, error) {
	defer f.waiters.Add(-1)
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none T
		return none, ended(operation, ctx)
	}
}
