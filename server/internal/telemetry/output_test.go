package telemetry_test

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/marque-id/marque/server/internal/telemetry"
)

// sink is a log that may be stuck.
type sink struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
	stuck  chan struct{} // nil, or closed when it goes on
	in     chan struct{} // told when a write has begun
}

func (s *sink) Write(p []byte) (int, error) {
	if s.in != nil {
		select {
		case s.in <- struct{}{}:
		default:
		}
	}
	if s.stuck != nil {
		<-s.stuck
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return s.text.Write(p)
}

func TestLinesStayWholeAndInOrder(t *testing.T) {
	t.Parallel()
	var s sink
	o := telemetry.NewOutput(&s)
	for n := range 1000 {
		if n%100 == 99 {
			if _, err := fmt.Fprintf(o, "%d\n", n); err != nil {
				t.Fatal(err)
			}
			continue
		}
		o.Append(fmt.Appendf(nil, "%d\n", n))
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(s.text.String())
	if len(lines) != 1000 {
		t.Fatalf("%d lines", len(lines))
	}
	for n, line := range lines {
		if line != fmt.Sprint(n) {
			t.Fatalf("line %d is %s", n, line)
		}
	}
	if s.writes > 100 {
		t.Errorf("%d writes: nothing was gathered", s.writes)
	}
	// A record after the end is not lost.
	if _, err := fmt.Fprintln(o, "late"); err != nil || !strings.HasSuffix(s.text.String(), "late\n") {
		t.Error("what was written after Close is lost")
	}
}

func TestALineIsWrittenByItself(t *testing.T) {
	t.Parallel()
	s := sink{in: make(chan struct{}, 1)}
	o := telemetry.NewOutput(&s)
	o.Append([]byte("one\n"))
	<-s.in // without anything else happening
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestALogThatNobodyReadsHoldsUpNoRequest: lines are dropped and counted, and
// memory stays bounded.
func TestALogThatNobodyReadsHoldsUpNoRequest(t *testing.T) {
	t.Parallel()
	s := sink{stuck: make(chan struct{}), in: make(chan struct{}, 1)}
	o := telemetry.NewOutput(&s)
	line := append(bytes.Repeat([]byte("x"), 999), '\n')
	o.Append(line)
	<-s.in
	for range 3000 {
		o.Append(line)
	}
	if n := o.Dropped(); n < 1900 || n > 2000 {
		t.Errorf("%d of 3001 were dropped", n)
	}
	close(s.stuck)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if got := int64(strings.Count(s.text.String(), "\n")); got+o.Dropped() != 3001 {
		t.Errorf("%d lines were written and %d dropped", got, o.Dropped())
	}
}
