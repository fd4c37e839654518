package faults

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// TestSlowClients lets clients send one byte a second: some their handshake,
// some a header, some a body. Others notice nothing, and each of them is closed
// at its deadline.
func TestSlowClients(t *testing.T) {
	shortCut(t)
	const (
		deadline = 10 * time.Second // that the server gives a request
		rate     = 200.0
	)
	clients, length := inFull(500, 30), 8*time.Second
	if !*full {
		length = 2 * time.Second
	}
	o := options(t, "")
	s := start(t, o)
	ctx := t.Context()
	f := muster(ctx, t, s, 16)
	var requests [][]byte
	for _, a := range f.agents {
		requests = append(requests, a.request())
	}
	before, err := fire(ctx, s, requests, 16, rate, length)
	must(t, err)

	var wait sync.WaitGroup
	var mu sync.Mutex
	var open []time.Duration
	refused, late := 0, 0
	for i := range clients {
		wait.Go(func() {
			took, err := drip(s, i, requests[0])
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				refused++
				t.Logf("slow client %d: %v", i, err)
			case took > deadline+time.Second:
				late++
				open = append(open, took)
			default:
				open = append(open, took)
			}
		})
	}
	time.Sleep(time.Second) // the handshakes of so many at once are another matter
	during, err := fire(ctx, s, requests, 16, rate, length)
	must(t, err)
	wait.Wait()

	ordinary, meanwhile := percentile(before.ok, 99), percentile(during.ok, 99)
	if !before.only(200) || !during.only(200) || refused > 0 || *full && late > 0 {
		t.Errorf("others: %v, then %v; %d slow ones stayed too long, %d were not let in", before, during, late, refused)
	}
	report(t, "slow clients", sqlite, during.only(200) && late == 0 && refused == 0 && meanwhile <= ordinary*12/10,
		"others' p99 within 20 %, each closed at its deadline of 10 s",
		"%d at 1 B/s, closed after %.1f … %.1f s; others: %v, p99 %s, before %s",
		len(open), percentile(open, 0).Seconds(), percentile(open, 100).Seconds(), during, ms(meanwhile), ms(ordinary))
}

// drip sends a byte a second until the server closes the connection and tells
// how long it was open.
func drip(s *server.Server, i int, request []byte) (time.Duration, error) {
	tcp, err := net.Dial("tcp", s.Address)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tcp.Close() }()
	began := time.Now()
	var conn net.Conn = tcp
	if i%3 == 0 { // the first bytes of a handshake: a record of 512 bytes
		request = append([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, make([]byte, 600)...)
	} else {
		secure := tls.Client(tcp, s.TLS)
		_ = secure.SetDeadline(began.Add(20 * time.Second))
		if err := secure.Handshake(); err != nil {
			return 0, err
		}
		conn = secure
		began = time.Now()
		if i%3 == 1 { // all but the end of the body
			if _, err := conn.Write(request[:len(request)-40]); err != nil {
				return 0, err
			}
			request = request[len(request)-40:]
		}
	}
	closed := make(chan error, 1)
	go func() {
		_ = conn.SetReadDeadline(began.Add(20 * time.Second))
		_, err := io.Copy(io.Discard, conn)
		closed <- err
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		_, _ = conn.Write(request[n : n+1])
		select {
		case err := <-closed:
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return 20 * time.Second, nil
			}
			return time.Since(began), nil
		case <-tick.C:
		}
	}
}
