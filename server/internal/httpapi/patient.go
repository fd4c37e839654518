package httpapi

import (
	"io"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/clock"
)

// patient is a body that may take longer to send than WriteTimeout, which holds
// for each part of it instead: fasthttp sets the deadline of a connection once
// and would cut a healthy stream at exactly that time. A client that takes
// nothing for so long is cut off.
type patient struct {
	io.Reader
	conn    net.Conn
	timeout time.Duration
}

// patiently makes a body of a reader. The reader may be an [io.Closer].
func (s *server) patiently(c *fiber.Ctx, r io.Reader) io.Reader {
	return &patient{r, c.Context().Conn(), s.WriteTimeout}
}

// Read reads the next part, whose time to be sent begins now. The deadline of a
// connection is in the time of the machine, whatever other clocks say.
func (p *patient) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	if p.conn != nil {
		_ = p.conn.SetWriteDeadline(clock.System().Now().Add(p.timeout)) // a connection that is gone says so when it is written to
	}
	return n, err
}

// Close closes the reader.
func (p *patient) Close() error {
	if c, ok := p.Reader.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
