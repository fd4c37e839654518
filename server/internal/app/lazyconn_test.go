package app

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/marque-id/marque/server/internal/clock"
)

// What package net asks of every connection: among others, that deadlines hold
// while calls wait, that they can be moved meanwhile, and that closing ends them.
func TestALazyConnectionIsAConnectionLikeAnyOther(t *testing.T) {
	t.Parallel()
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2 = lazyPair(t)
		return c1, c2, func() { _, _ = c1.Close(), c2.Close() }, nil
	})
}

func TestADeadlineIsNotToldToTheRuntimeUntilACallWaits(t *testing.T) {
	t.Parallel()
	c, peer := lazyPair(t)
	send(t, peer, "a request")
	awaitArrival(t, c)
	bound(t, c, hence(time.Hour))
	receive(t, c, "a request")
	send(t, c, "an answer")
	if c.reading.armed != 0 || c.writing.armed != 0 {
		t.Errorf("armed for %v and %v, though nothing waited", c.reading.armed, c.writing.armed)
	}
	read := reading(c)
	for armed := int64(0); armed == 0; runtime.Gosched() {
		c.reading.arming.Lock()
		armed = c.reading.armed
		c.reading.arming.Unlock()
		if armed != 0 && armed != c.reading.until.Load() {
			t.Errorf("armed for %v, wanted %v", armed, c.reading.until.Load())
		}
	}
	send(t, peer, "x")
	if err := <-read; err != nil {
		t.Error(err)
	}
}

// The deadline of a request before is what the runtime knows, and it comes.
func TestAnEarlierDeadlineDoesNotEndACallWithALaterOne(t *testing.T) {
	t.Parallel()
	c, peer := lazyPair(t)
	bound(t, c, hence(20*time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a read that nobody answers: %v", err)
	}
	for _, later := range []time.Time{hence(time.Hour), {}} {
		bound(t, c, later)
		read := reading(c)
		awaitWait(t, c, read)
		send(t, peer, "x")
		if err := <-read; err != nil {
			t.Errorf("until %v: %v", later, err)
		}
	}

	// The earlier one comes while the call waits.
	bound(t, c, hence(30*time.Millisecond))
	read := reading(c)
	awaitWait(t, c, read)
	bound(t, c, hence(90*time.Millisecond))
	began := clock.System().Now()
	if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if took := clock.System().Since(began); took < 60*time.Millisecond {
		t.Errorf("it was ended by the earlier deadline, after %v", took)
	}
}

func TestAWriteThatIsNotTakenEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	c, _ := lazyPair(t)
	bound(t, c, hence(50*time.Millisecond))
	const much = 64 << 20
	n, err := c.Write(make([]byte, much))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == much {
		t.Errorf("%d of %d bytes were sent to nobody: %v", n, much, err)
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is not a timeout", err)
	}
}

// A client that has never said anything in its time is not answered: what HTTP
// clients get on a connection that they have not used yet is an error to them.
func TestADeadlineThatIsOverEndsACallThatWouldNotWait(t *testing.T) {
	t.Parallel()
	c, _ := lazyPair(t)
	bound(t, c, hence(20*time.Millisecond))
	send(t, c, "in time")
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if n, err := io.WriteString(c, "too late"); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes were sent, %v", n, err)
	}
}

// lazyPair is both ends of a connection.
func lazyPair(t *testing.T) (c, peer *lazyConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialed.Close(), accepted.Close() })
	lazy := func(c net.Conn) *lazyConn {
		lazy, err := newLazyConn(c.(*net.TCPConn))
		if err != nil {
			t.Fatal(err)
		}
		return lazy
	}
	return lazy(accepted), lazy(dialed)
}

func hence(d time.Duration) time.Time { return clock.System().Now().Add(d) }

func bound(t *testing.T, c net.Conn, until time.Time) {
	t.Helper()
	if err := c.SetDeadline(until); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v", got, err)
	}
}

// reading reads one byte.
func reading(c net.Conn) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, 1))
		done <- err
	}()
	return done
}

// awaitWait returns once a read of c waits, which must not have ended before.
func awaitWait(t *testing.T, c *lazyConn, read <-chan error) {
	t.Helper()
	for !c.reading.waiting.Load() {
		select {
		case err := <-read:
			t.Fatal(err)
		default:
			runtime.Gosched()
		}
	}
}

// awaitArrival returns once there is something to read.
func awaitArrival(t *testing.T, c *lazyConn) {
	t.Helper()
	raw, err := c.tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n <= 0; runtime.Gosched() {
		if err := raw.Control(func(fd uintptr) {
			n, _, _ = syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		}); err != nil {
			t.Fatal(err)
		}
	}
}
