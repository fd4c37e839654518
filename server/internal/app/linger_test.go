package app

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

// A stopping server closes idle connections, and a request can arrive on one in
// that moment: the server sets the deadline of its answer on a connection that
// is closed.
func TestARequestOnAConnectionThatIsBeingClosedDoesNotEndTheProcess(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conn net.Conn
	panicked := make(chan any, 1)
	server := &fasthttp.Server{WriteTimeout: 10 * time.Second, Handler: func(*fasthttp.RequestCtx) {
		_ = conn.(*lingeringConn).tcp.Close()
	}}
	go func() {
		defer func() { panicked <- recover() }()
		var err error
		if conn, err = (lingering{l}).Accept(); err == nil {
			_ = server.ServeConn(conn)
		}
	}()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if p := <-panicked; p != nil {
		t.Error(p)
	}
}
