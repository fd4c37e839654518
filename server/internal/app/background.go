package app

import (
	"context"
	"sync"
)

// background runs what goes on beside the requests, and ends it. The zero value
// is ready.
type background struct {
	group sync.WaitGroup
	mu    sync.Mutex
	stop  []context.CancelFunc
}

// run starts task on a goroutine of its own; its context ends with stopAll.
func (b *background) run(task func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	b.mu.Lock()
	b.stop = append(b.stop, cancel)
	b.mu.Unlock()
	b.group.Go(func() { task(ctx) })
}

// stopAll tells every task to end and waits for them, as long as ctx allows.
func (b *background) stopAll(ctx context.Context) error {
	b.mu.Lock()
	for _, cancel := range b.stop {
		cancel()
	}
	b.mu.Unlock()
	done := make(chan struct{})
	go func() {
		b.group.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
