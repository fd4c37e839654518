package app

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
)

// lazyConn is a TCP connection that sets the runtime's deadline only where it
// has to wait, and not anew where one is set that comes earlier: that one wakes
// it, and it goes on waiting. The HTTP server sets three deadlines for each
// request, and hardly ever one of them comes.
//
// A deadline that is over ends a call that would wait, and the second call since
// it was set even if that would not.
type lazyConn struct {
	net.Conn // of TCP; only what it says of itself and Close
	tcp      *net.TCPConn
	reading  direction
	writing  direction
}

func newLazyConn(tcp *net.TCPConn) (*lazyConn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &lazyConn{Conn: tcp, tcp: tcp}
	c.reading.epoch = clock.System().Now()
	c.writing.epoch = c.reading.epoch
	c.reading.set, c.reading.wait, c.reading.step = tcp.SetReadDeadline, raw.Read, c.reading.read
	c.writing.set, c.writing.wait, c.writing.step = tcp.SetWriteDeadline, raw.Write, c.writing.write
	return c, nil
}

// direction is reading or writing.
//
// The deadline that counts is until. armed is what the runtime was told. Whoever
// waits has said so before it looks at until, and whoever changes until looks
// afterwards whether somebody waits, so that one of them sees the other.
type direction struct {
	epoch   time.Time    // in the time of the machine, whatever other clocks say
	until   atomic.Int64 // since epoch; 0: none
	waiting atomic.Bool

	arming sync.Mutex
	armed  int64
	set    func(time.Time) error

	turn sync.Mutex // of the one call that is being answered
	last int64      // what until was for the call before
	wait func(func(fd uintptr) bool) error
	step func(fd uintptr) bool
	p    []byte
	n    int
	err  error
}

// SetDeadline bounds reading and writing.
func (c *lazyConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline bounds reading.
func (c *lazyConn) SetReadDeadline(t time.Time) error { return c.reading.bound(t) }

// SetWriteDeadline bounds writing.
func (c *lazyConn) SetWriteDeadline(t time.Time) error { return c.writing.bound(t) }

func (d *direction) bound(t time.Time) error {
	var until int64
	if !t.IsZero() {
		until = int64(t.Sub(d.epoch))
		if until == 0 {
			until = -1
		}
	}
	d.until.Store(until)
	if d.waiting.Load() {
		return d.arm()
	}
	return nil
}

// arm tells the runtime of the deadline that counts, unless it wakes us before
// that anyway.
func (d *direction) arm() error {
	d.arming.Lock()
	defer d.arming.Unlock()
	until := d.until.Load()
	if until == d.armed || d.armed > 0 && (until == 0 || d.armed < until) {
		return nil
	}
	return d.tell(until)
}

// again tells the runtime of a deadline that is still to come, after an earlier
// one has woken us. It reports whether there is one.
func (d *direction) again() bool {
	d.arming.Lock()
	defer d.arming.Unlock()
	until := d.until.Load()
	if until != 0 && until <= int64(clock.System().Since(d.epoch)) {
		return false
	}
	return d.tell(until) == nil
}

func (d *direction) tell(until int64) error {
	var t time.Time
	if until != 0 {
		t = d.epoch.Add(time.Duration(until))
	}
	err := d.set(t)
	if err == nil {
		d.armed = until
	}
	return err
}

// Read reads what is there, or waits for it.
func (c *lazyConn) Read(p []byte) (int, error) {
	n, err := c.reading.do(p)
	if n == 0 && err == nil && len(p) > 0 {
		return 0, io.EOF
	}
	return n, c.named("read", err)
}

// Write sends all of p.
func (c *lazyConn) Write(p []byte) (int, error) {
	n, err := c.writing.do(p)
	return n, c.named("write", err)
}

func (d *direction) do(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	d.turn.Lock()
	defer d.turn.Unlock()
	d.p, d.n, d.err = p, 0, nil
	err := os.ErrDeadlineExceeded
	for !d.over() {
		err = d.wait(d.step)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !d.again() {
			break
		}
	}
	if d.waiting.Load() {
		d.waiting.Store(false)
	}
	d.p = nil
	if err == nil {
		err = d.err
	}
	return d.n, err
}

// over reports whether the deadline has come. One that was set just now can wait
// until the call does: looking at the clock costs more than all else here.
func (d *direction) over() bool {
	until := d.until.Load()
	seen := until == d.last
	d.last = until
	return until < 0 || seen && until != 0 && until <= int64(clock.System().Since(d.epoch))
}

// read is one look at the socket. It is false where there is nothing yet.
func (d *direction) read(fd uintptr) bool {
	n, err := ignoreInterrupts(syscall.Read, fd, d.p)
	if err == syscall.EAGAIN {
		return d.mayNotWait()
	}
	d.n, d.err = max(n, 0), err
	return true
}

// write sends what the socket takes. It is false where that was not all.
func (d *direction) write(fd uintptr) bool {
	for d.n < len(d.p) {
		n, err := ignoreInterrupts(syscall.Write, fd, d.p[d.n:])
		if err == syscall.EAGAIN {
			return d.mayNotWait()
		}
		if err != nil {
			d.err = err
			return true
		}
		d.n += n
	}
	return true
}

// mayNotWait arms the deadline of a wait that begins now, and is true where
// that fails.
func (d *direction) mayNotWait() bool {
	d.waiting.Store(true)
	d.err = d.arm()
	return d.err != nil
}

func ignoreInterrupts(call func(int, []byte) (int, error), fd uintptr, p []byte) (int, error) {
	for {
		n, err := call(int(fd), p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// named is an error as package net would give it.
func (c *lazyConn) named(op string, err error) error {
	if err == nil {
		return nil
	}
	var inner *net.OpError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	var number syscall.Errno
	if errors.As(err, &number) {
		err = os.NewSyscallError(op, number)
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
