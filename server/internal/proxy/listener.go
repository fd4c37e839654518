// Package proxy finds out who really calls when load balancers and proxies
// stand in between: by the PROXY protocol, below TLS, and by a forwarded
// header, each only from peers that the operator has listed. From anybody else
// both are text that a stranger wrote.
package proxy

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// headerTimeout is how long a listed balancer may take to send its header. It
// sends it at once, before the client has said anything.
const headerTimeout = 5 * time.Second

// Listener unwraps the PROXY protocol, version 2, of the listed balancers. Its
// connections tell the client's address as their remote one; TLS goes on top.
//
// A listed balancer must send the header: without it all its clients would
// share the balancer's address. From others nothing is unwrapped, so that a
// header of theirs is a broken TLS handshake.
type Listener struct {
	net.Listener
	// From are the listed balancers.
	From []netip.Prefix
	// Refused, when set, is told of each connection from a listed balancer that
	// has no acceptable header.
	Refused func(peer netip.Addr, err error)
	// Timeout is how long a header may take; zero is five seconds.
	Timeout time.Duration
}

// Accept waits for the next connection. It does not wait for the header, which
// is read with the connection's first bytes.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	peer := addrOf(c.RemoteAddr())
	if !listed(l.From, peer) {
		return c, nil
	}
	timeout := l.Timeout
	if timeout == 0 {
		timeout = headerTimeout
	}
	return &conn{
		Conn: proxyproto.NewConn(c,
			proxyproto.WithPolicy(proxyproto.REQUIRE),
			proxyproto.SetReadHeaderTimeout(timeout),
			proxyproto.ValidateHeader(acceptable)),
		peer: peer, refused: l.Refused,
	}, nil
}

var (
	errVersion   = errors.New("proxy: a PROXY header of version 1: have the balancer send version 2")
	errTransport = errors.New("proxy: a PROXY header that is not about TCP")
)

// acceptable takes version 2 only: version 1 is text whose end has to be looked
// for. A header of the balancer's own (LOCAL) is a health check of its own.
func acceptable(h *proxyproto.Header) error {
	switch {
	case h.Version != 2:
		return errVersion
	case h.Command.IsLocal():
		return nil
	case h.TransportProtocol != proxyproto.TCPv4 && h.TransportProtocol != proxyproto.TCPv6:
		return errTransport
	}
	return nil
}

// conn reports a header that was refused, once, when it is read.
type conn struct {
	*proxyproto.Conn
	peer    netip.Addr
	refused func(netip.Addr, error)
	once    sync.Once
}

// Read reads the header first, then what the client has sent.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.once.Do(func() {
		if err != nil && c.refused != nil && c.ProxyHeader() == nil {
			c.refused(c.peer, err)
		}
	})
	return n, err
}

// addrOf is the address of a TCP peer; the zero Addr for any other.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func listed(networks []netip.Prefix, addr netip.Addr) bool {
	for _, n := range networks {
		if n.Contains(addr.WithZone("")) {
			return true
		}
	}
	return false
}
