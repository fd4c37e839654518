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
type lingering struct {
	net.Listener
	clock clock.Clock
}

// Accept waits for the next connection.
func (l lingering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return &lingeringConn{tcp, l.clock}, err
	}
	return c, err
}

type lingeringConn struct {
	*net.TCPConn
	clock clock.Clock
}

// Close ends the connection, to its user at once.
func (c *lingeringConn) Close() error {
	if c.CloseWrite() != nil || c.TCPConn.SetReadDeadline(c.clock.Now().Add(lingerFor)) != nil {
		return c.TCPConn.Close()
	}
	go func() {
		_, _ = io.CopyN(io.Discard, c.TCPConn, lingerBytes)
		_ = c.TCPConn.Close()
	}()
	return nil
}

// The deadlines of a connection that is closed already are not an error:
// fasthttp panics, and the process with it, when a stopping server closes an
// idle connection in the moment in which a request arrives on it. What is then
// written fails, as it must.

// SetDeadline bounds reading and writing.
func (c *lingeringConn) SetDeadline(t time.Time) error {
	return unlessClosed(c.TCPConn.SetDeadline(t))
}

// SetReadDeadline bounds reading.
func (c *lingeringConn) SetReadDeadline(t time.Time) error {
	return unlessClosed(c.TCPConn.SetReadDeadline(t))
}

// SetWriteDeadline bounds writing.
func (c *lingeringConn) SetWriteDeadline(t time.Time) error {
	return unlessClosed(c.TCPConn.SetWriteDeadline(t))
}

func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
