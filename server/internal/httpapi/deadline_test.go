package httpapi

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
)

func TestContextOfACallEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, began := &call{}, clock.System().Now()
		c := &callContext{call: k, deadline: began.Add(time.Second)}
		child, cancel := context.WithTimeout(context.WithValue(c, callKey{}, k), time.Hour)
		defer cancel()
		if at, ok := child.Deadline(); !ok || !at.Equal(c.deadline) || callOf(c) != k {
			t.Errorf("deadline %v, want %v", at, c.deadline)
		}
		if c.Err() != nil || child.Err() != nil {
			t.Errorf("ended before its time: %v, %v", c.Err(), child.Err())
		}
		<-child.Done()
		if took := clock.System().Since(began); took != time.Second {
			t.Errorf("ended after %v", took)
		}
		if !errors.Is(c.Err(), context.DeadlineExceeded) || !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("at the deadline: %v, %v", c.Err(), child.Err())
		}
		c.end()
	})
}

func TestContextOfACallEndsWithIt(t *testing.T) {
	t.Parallel()
	deadline := clock.System().Now().Add(time.Hour)
	waited, asked := &callContext{deadline: deadline}, &callContext{deadline: deadline}
	done := waited.Done()
	waited.end()
	<-done
	asked.end()
	<-asked.Done()
	for _, c := range []*callContext{waited, asked} {
		if !errors.Is(c.Err(), context.Canceled) {
			t.Errorf("after the answer: %v", c.Err())
		}
	}
}
