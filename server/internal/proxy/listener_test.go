package proxy_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/proxy"
)

// signature begins every header of version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// header is a version 2 header: command and family as in the specification.
func header(command, family byte, body []byte) []byte {
	b := append([]byte(signature), 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, body...)
}

func from4(address string) []byte {
	a := netip.MustParseAddr(address).As4()
	return append(append(a[:], 127, 0, 0, 1), 0x11, 0x22, 0x01, 0xbb)
}

func from6(address string) []byte {
	a := netip.MustParseAddr(address).As16()
	return append(append(append(a[:], a[:]...), 0x11, 0x22), 0x01, 0xbb)
}

const (
	local, proxied         = 0, 1
	unspec, tcp4, udp, tcp = 0, 0x11, 0x12, 0x21
)

// outcome is what the server's side of a connection saw.
type outcome struct {
	address string
	text    string
	err     error
	refused error
}

// connect sends bytes to a listener that unwraps for the listed networks.
func connect(t *testing.T, listed string, timeout time.Duration, send func(net.Conn)) outcome {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var o outcome
	l := &proxy.Listener{
		Listener: tcp, From: []netip.Prefix{netip.MustParsePrefix(listed)}, Timeout: timeout,
		Refused: func(peer netip.Addr, err error) {
			if peer.String() != "127.0.0.1" {
				t.Errorf("refused the header of %s", peer)
			}
			o.refused = err
		},
	}
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	go send(client)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	buffer := make([]byte, 256)
	n, err := c.Read(buffer)
	o.err, o.text = err, string(buffer[:n])
	o.address = c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().String()
	return o
}

func TestTheHeaderOfAListedBalancer(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		send    []byte
		address string // "" when it is refused
	}{
		{"names an IPv4 client", header(proxied, tcp4, from4("203.0.113.7")), "203.0.113.7"},
		{"names an IPv6 client", header(proxied, tcp, from6("2001:db8::7")), "2001:db8::7"},
		{"may have more in it", header(proxied, tcp4, append(from4("203.0.113.7"), 0x04, 0, 1, 'x')), "203.0.113.7"},
		{"of its own health check", header(local, unspec, nil), "127.0.0.1"},
		{"of version 1 is refused", []byte("PROXY TCP4 203.0.113.7 127.0.0.1 4386 443\r\n"), ""},
		{"about UDP is refused", header(proxied, udp, from4("203.0.113.7")), ""},
		{"about nothing is refused", header(proxied, unspec, nil), ""},
		{"with too few bytes is refused", header(proxied, tcp4, from4("203.0.113.7")[:4]), ""},
		{"of version 3 is refused", append([]byte(signature), 0x31, tcp4, 0, 0), ""},
		{"with an endless rest is refused", append([]byte(signature), 0x21, tcp4, 0xff, 0xff), ""},
		{"that is not there is refused", []byte("\x16\x03\x01 a TLS handshake"), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			o := connect(t, "127.0.0.0/8", 0, func(c net.Conn) {
				_, _ = c.Write(append(bytes.Clone(tc.send), "hello"...))
			})
			switch {
			case tc.address == "" && (o.err == nil || o.refused == nil || o.address != "127.0.0.1"):
				t.Errorf("it was accepted, or nobody was told: %+v", o)
			case tc.address != "" && (o.err != nil || o.refused != nil || o.address != tc.address || o.text != "hello"):
				t.Errorf("got %+v", o)
			}
		})
	}
}

func TestAHeaderOfAnybodyElseIsNotRead(t *testing.T) {
	t.Parallel()
	sent := header(proxied, tcp4, from4("203.0.113.7"))
	o := connect(t, "10.0.0.0/8", 0, func(c net.Conn) { _, _ = c.Write(sent) })
	if o.err != nil || o.address != "127.0.0.1" || o.text != string(sent) {
		t.Errorf("got %+v", o)
	}
}

func TestAHeaderThatDripsIsCutOff(t *testing.T) {
	t.Parallel()
	sent := header(proxied, tcp4, from4("203.0.113.7"))
	o := connect(t, "127.0.0.1/32", 30*time.Millisecond, func(c net.Conn) {
		_, _ = c.Write(sent[:20])
		_, _ = io.Copy(io.Discard, c) // and then nothing, until the other side hangs up
	})
	if o.err == nil || o.refused == nil || o.address != "127.0.0.1" || strings.Contains(o.text, "hello") {
		t.Errorf("got %+v", o)
	}
}
