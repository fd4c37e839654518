package telemetry

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// flushEvery is how long a line of a request may wait in memory.
	flushEvery = 100 * time.Millisecond
	// flushAt is when it is written sooner.
	flushAt = 32 << 10
	// maxPending bounds what waits for a reader of the log that does not read.
	maxPending = 1 << 20
)

// Output is where log lines go: whole lines, in the order in which they came.
// Records (Write) are there when Write returns. The lines of requests (Append)
// are gathered for a moment, since a write each would cost as much as the rest
// of their making; they never wait for a reader that is slow, but are dropped
// and counted.
type Output struct {
	writer  io.Writer
	writing sync.Mutex // held while writer is used; never by Append

	mu      sync.Mutex
	pending []byte
	spare   []byte

	dropped atomic.Int64
	first   chan struct{} // a line waits
	many    chan struct{} // flushAt is reached
	stop    chan struct{}
	ended   chan struct{}
	once    sync.Once
}

// NewOutput starts an output. Close ends it.
func NewOutput(w io.Writer) *Output {
	o := &Output{
		writer: w,
		first:  make(chan struct{}, 1), many: make(chan struct{}, 1),
		stop: make(chan struct{}), ended: make(chan struct{}),
	}
	go o.run()
	return o
}

// Write writes a record, after all that came before it.
func (o *Output) Write(record []byte) (int, error) {
	o.mu.Lock()
	o.pending = append(o.pending, record...)
	o.mu.Unlock()
	if err := o.flush(); err != nil {
		return 0, err
	}
	return len(record), nil
}

// Append takes a line that may wait a moment.
func (o *Output) Append(line []byte) {
	o.mu.Lock()
	before := len(o.pending)
	if before+len(line) > maxPending {
		o.mu.Unlock()
		o.dropped.Add(1)
		return
	}
	o.pending = append(o.pending, line...)
	o.mu.Unlock()
	if before == 0 {
		signal(o.first)
	}
	if before < flushAt && before+len(line) >= flushAt {
		signal(o.many)
	}
}

// Dropped is how many lines were dropped so far.
func (o *Output) Dropped() int64 { return o.dropped.Load() }

// Close writes what waits. What is written afterwards is written at once.
func (o *Output) Close() error {
	o.once.Do(func() { close(o.stop) })
	<-o.ended
	return o.flush()
}

func (o *Output) run() {
	defer close(o.ended)
	timer := time.NewTimer(flushEvery)
	defer timer.Stop()
	for {
		select {
		case <-o.stop:
			return
		case <-o.first:
		}
		timer.Reset(flushEvery)
		select {
		case <-o.stop:
			return
		case <-o.many:
		case <-timer.C:
		}
		// A log that cannot be written has nobody left to be told.
		_ = o.flush()
	}
}

func (o *Output) flush() error {
	o.writing.Lock()
	defer o.writing.Unlock()
	o.mu.Lock()
	lines := o.pending
	o.pending, o.spare = o.spare[:0], nil
	o.mu.Unlock()
	var err error
	if len(lines) > 0 {
		_, err = o.writer.Write(lines)
	}
	o.mu.Lock()
	o.spare = lines[:0]
	o.mu.Unlock()
	return err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // somebody has been told already
	}
}
