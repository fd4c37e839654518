package marque

import (
	"context"
	"time"
)

// Clock tells the time and waits. Tests replace it, so that no test sleeps.
type Clock interface {
	Now() time.Time
	// Sleep waits for d, or returns ctx's error once ctx ends. It returns
	// context.DeadlineExceeded at once where ctx's deadline comes before the end
	// of the wait.
	Sleep(ctx context.Context, d time.Duration) error
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return context.DeadlineExceeded
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
