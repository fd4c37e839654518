package faults

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// line is one connection to a server, spoken to in bytes: it repeats nothing by
// itself, and costs little enough to load a server with.
type line struct {
	conn *tls.Conn
	in   *bufio.Reader
}

// answer is what came back on a line.
type answer struct {
	status     int
	retryAfter bool
	last       bool // the server closes the connection
	body       []byte
}

var errCut = errors.New("the request was sent whole and the connection ended before its answer")

func dial(ctx context.Context, s *server.Server) (*line, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: s.TLS}
	conn, err := dialer.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return nil, err
	}
	return &line{conn.(*tls.Conn), bufio.NewReader(conn)}, nil
}

// ask sends a request and waits for its answer, no longer than 10 s.
func (l *line) ask(request []byte) (a answer, err error) {
	_ = l.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := l.conn.Write(request); err != nil {
		return a, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(errCut, err)
		}
	}()
	first, err := l.in.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if len(first) < 12 || string(first[:9]) != "HTTP/1.1 " {
		return a, fmt.Errorf("not an answer: %q", first)
	}
	if a.status, err = strconv.Atoi(string(first[9:12])); err != nil {
		return a, err
	}
	size := 0
	for {
		field, err := l.in.ReadSlice('\n')
		if err != nil {
			return a, err
		}
		name, value, _ := strings.Cut(strings.TrimSpace(string(field)), ": ")
		switch {
		case name == "":
			if cap(a.body) < size {
				a.body = make([]byte, size)
			}
			a.body = a.body[:size]
			_, err := io.ReadFull(l.in, a.body)
			return a, err
		case strings.EqualFold(name, "Content-Length"):
			if size, err = strconv.Atoi(value); err != nil {
				return a, err
			}
		case strings.EqualFold(name, "Retry-After"):
			seconds, err := strconv.Atoi(value)
			a.retryAfter = err == nil && seconds > 0
		case strings.EqualFold(name, "Connection"):
			a.last = strings.EqualFold(value, "close")
		}
	}
}

// posting is the bytes of a form that is posted.
func posting(path string, form url.Values) []byte {
	body := form.Encode()
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		path, len(body), body)
}

func (a agent) request() []byte {
	return posting("/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {a.id}, "client_secret": {a.secret}})
}

// shots are the answers to a number of requests.
type shots struct {
	mu        sync.Mutex
	statuses  map[int]int
	unsaid    int // refusals that do not say when to come back
	broken    int // requests without an answer
	firstFail error
	ok        []time.Duration // how long the admitted took
	all       []time.Duration
}

func (s *shots) note(a answer, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.statuses == nil {
		s.statuses = map[int]int{}
	}
	if err != nil {
		s.broken++
		if s.firstFail == nil {
			s.firstFail = err
		}
		return
	}
	s.statuses[a.status]++
	s.all = append(s.all, took)
	switch {
	case a.status/100 == 2:
		s.ok = append(s.ok, took)
	case (a.status == 429 || a.status == 503) && !a.retryAfter:
		s.unsaid++
	}
}

func (s *shots) sum() int { return len(s.all) + s.broken }

// only reports whether no other status came and every request was answered.
func (s *shots) only(allowed ...int) bool {
	for status := range s.statuses {
		if !slices.Contains(allowed, status) {
			return false
		}
	}
	return s.broken == 0
}

func (s *shots) String() string {
	var b strings.Builder
	keys := make([]int, 0, len(s.statuses))
	for status := range s.statuses {
		keys = append(keys, status)
	}
	slices.Sort(keys)
	for _, status := range keys {
		fmt.Fprintf(&b, "%d×%d ", status, s.statuses[status])
	}
	if s.broken > 0 {
		fmt.Fprintf(&b, "unanswered×%d (%v) ", s.broken, s.firstFail)
	}
	return strings.TrimSpace(b.String())
}

// percentile of durations; it sorts them.
func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(float64(len(d))*p/100), len(d)-1)]
}

// fire sends requests at a rate (0: as fast as answers come) over a number of
// connections for a while. Each connection has its own times to send at; one
// whose answer is late sends at once when it comes and lets the times it has
// missed pass, so what is offered is counted, not assumed.
func fire(ctx context.Context, s *server.Server, requests [][]byte, connections int, rate float64, length time.Duration) (*shots, error) {
	lines := make([]*line, connections)
	var opening sync.WaitGroup
	errs := make(chan error, connections)
	gate := make(chan struct{}, 64)
	for i := range lines {
		opening.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			l, err := dial(ctx, s)
			if err != nil {
				errs <- err
				return
			}
			lines[i] = l
		})
	}
	opening.Wait()
	close(errs)
	for err := range errs {
		return nil, err
	}

	var result shots
	var wait sync.WaitGroup
	began := time.Now()
	for i, l := range lines {
		wait.Go(func() {
			defer func() { _ = l.conn.Close() }()
			var interval time.Duration
			next := began
			if rate > 0 {
				interval = time.Duration(float64(connections) / rate * float64(time.Second))
				next = began.Add(interval * time.Duration(i) / time.Duration(connections))
			}
			for n := i; ctx.Err() == nil; n++ {
				if pause := time.Until(next); pause > 0 {
					time.Sleep(pause)
				}
				sent := time.Now()
				if sent.Sub(began) >= length {
					return
				}
				a, err := l.ask(requests[n%len(requests)])
				result.note(a, time.Since(sent), err)
				if err != nil || a.last {
					_ = l.conn.Close()
					if l, err = dial(ctx, s); err != nil {
						return
					}
				}
				for next = next.Add(interval); interval > 0 && time.Since(next) > interval; {
					next = next.Add(interval)
				}
			}
		})
	}
	wait.Wait()
	return &result, nil
}
