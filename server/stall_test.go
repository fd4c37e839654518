package main

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// stalled is a connection with half a request on it.
type stalled struct{ address string }

func stall(t *testing.T, s *server) stalled {
	t.Helper()
	conn, err := tls.Dial("tcp", s.address(), s.tls(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nX-Slow: "); err != nil {
		t.Fatal(err)
	}
	return stalled{s.address()}
}

// awaitRefusal waits until the server accepts no more connections, which is
// when it has noticed the signal.
func (st stalled) awaitRefusal(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	for {
		conn, err := net.Dial("tcp", st.address)
		if err != nil {
			return
		}
		_ = conn.Close()
		select {
		case <-deadline:
			t.Fatal("it still accepts connections")
		case <-time.After(5 * time.Millisecond):
		}
	}
}
