package marque

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	mathrand "math/rand/v2"
	"time"
)

const (
	firstBackoff  = 500 * time.Millisecond
	maxBackoff    = 8 * time.Second
	maxRetryAfter = 60 * time.Second
)

// waitAfter says whether to make another attempt after the n-th failed, and when.
func (c *call) waitAfter(err *Error, n int) (time.Duration, bool) {
	switch {
	case n > c.options.retries, !err.Retryable, !c.op.idempotent:
		return 0, false
	case err.RetryAfter > maxRetryAfter:
		return 0, false // the caller may have something better to do than to wait
	case err.RetryAfter > 0:
		return err.RetryAfter, true
	default:
		return backoff(n), true
	}
}

// backoff doubles from 0.5 s up to 8 s. Of that, the upper half is left to
// chance, so that clients that failed together do not come back together.
func backoff(n int) time.Duration {
	d := min(firstBackoff<<min(n-1, 10), maxBackoff)
	return d/2 + mathrand.N(d/2+1)
}

func newIdempotencyKey() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// report tells hook and log about an attempt.
func (c *call) report(ctx context.Context, a Attempt, answer *answer, err *Error) {
	if answer != nil {
		a.Status, a.RequestID = answer.status, answer.header.Get("X-Request-Id")
	}
	attrs := []slog.Attr{
		slog.String("operation", a.Operation), slog.Int("attempt", a.Number),
		slog.Int("status", a.Status), slog.String("request_id", a.RequestID), slog.Duration("duration", a.Duration),
	}
	if err != nil {
		a.Err, a.Status = err, err.Status
		attrs = append(attrs, slog.String("kind", string(err.Kind)), slog.String("code", string(err.Code)))
	}
	if hook := c.client.config.AfterAttempt; hook != nil {
		hook(a)
	}
	c.client.log.LogAttrs(ctx, slog.LevelDebug, "marque request", attrs...)
}
