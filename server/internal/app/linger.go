package app

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
)

const (
	// lingerFor and lingerBytes bound what a closed connection still takes in.
	lingerFor   = time.Second
	lingerBytes = 1 << 20
)

// lingering is a listener whose connections close gently. A client that is
// refused before it has sent everything (413, 431) is still sending when its
// answer is on the way; closing at once would reset the connection, and the
// answer would be lost with it. So the writing side is closed first, and what
// comes is thrown away for a moment (RFC 9112 section 9.6).
type lingering struct{ net.Listener }

// Accept waits for the next connection.
func (l lingering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	tcp, ok := c.(*net.TCPConn)
	if err != nil || !ok {
		return c, err
	}
	lazy, err := newLazyConn(tcp)
	if err != nil {
		return c, nil // it is closed already, and says so to whoever reads it
	}
	return &lingeringConn{lazy}, nil
}

type lingeringConn struct{ *lazyConn }

// Close ends the connection, to its user at once. Deadlines that are set in the
// same moment can make the rest shorter, not longer.
func (c *lingeringConn) Close() error {
	if c.tcp.CloseWrite() != nil || c.tcp.SetReadDeadline(time.Time{}) != nil {
		return c.tcp.Close()
	}
	end := clock.System().AfterFunc(lingerFor, func() { _ = c.tcp.Close() })
	go func() {
		_, _ = io.CopyN(io.Discard, c.tcp, lingerBytes)
		end.Stop()
		_ = c.tcp.Close()
	}()
	return nil
}

// The deadlines of a connection that is closed already are not an error:
// fasthttp panics, and the process with it, when a stopping server closes an
// idle connection in the moment in which a request arrives on it. What is then
// written fails, as it must.

// SetDeadline bounds reading and writing.
func (c *lingeringConn) SetDeadline(t time.Time) error {
	return unlessClosed(c.lazyConn.SetDeadline(t))
}

// SetReadDeadline bounds reading.
func (c *lingeringConn) SetReadDeadline(t time.Time) error {
	return unlessClosed(c.lazyConn.SetReadDeadline(t))
}

// SetWriteDeadline bounds writing.
func (c *lingeringConn) SetWriteDeadline(t time.Time) error {
	return unlessClosed(c.lazyConn.SetWriteDeadline(t))
}

func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
