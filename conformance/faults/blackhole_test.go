package faults

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// hole stands between a server and its PostgreSQL. While it is closed, bytes go
// in and nothing comes out, and no connection breaks.
type hole struct {
	net.Listener
	mu     sync.Mutex
	open   *sync.Cond
	closed bool
}

func newHole(t *testing.T, socket, database string) (h *hole, through string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h = &hole{Listener: l}
	h.open = sync.NewCond(&h.mu)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			database, err := net.Dial("unix", socket)
			if err != nil {
				_ = c.Close()
				continue
			}
			go h.relay(database, c)
			go h.relay(c, database)
		}
	}()
	t.Cleanup(func() { h.set(false); _ = l.Close() })
	name := database[strings.Index(database, "@")+1 : strings.Index(database, "?")]
	return h, "postgres://marque@" + l.Addr().String() + name + "?sslmode=disable"
}

func (h *hole) set(closed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = closed
	h.open.Broadcast()
}

func (h *hole) relay(to io.WriteCloser, from io.ReadCloser) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		h.mu.Lock()
		for h.closed {
			h.open.Wait()
		}
		h.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// TestDatabaseBlackHole keeps asking while the database is silent: everything
// is answered in time, what needs no database is answered as ever, and
// afterwards nothing is left behind.
func TestDatabaseBlackHole(t *testing.T) {
	shortCut(t)
	const rate = 200.0
	const idle = 22 * time.Second // until the server lets idle goroutines of connections go
	length := inFull(30*time.Second, 3*time.Second)
	cluster, direct := ownCluster(t, "")
	h, through := newHole(t, cluster.Socket(), direct)
	o := options(t, through)
	ctx := t.Context()

	s := start(t, o)
	f := muster(ctx, t, s, 8)
	public, private := everyKind(s, f)
	baseline := 0
	if *full {
		// The baseline: a server that has done the same work with a database that answers.
		mixed, err := fire(ctx, s, append(public, private...), 260, rate, 3*time.Second)
		must(t, err)
		if !mixed.only(200) {
			t.Errorf("before the fault: %v", mixed)
		}
		time.Sleep(idle)
		baseline = goroutines(t, s, o)
		s = start(t, o)
		f.current.Store(s)
	}
	warm, err := fire(ctx, s, append(public, private...), 40, rate, 2*time.Second)
	must(t, err)
	if !warm.only(200) {
		t.Errorf("before the fault: %v", warm)
	}
	h.set(true)
	var open, closed *shots
	var both sync.WaitGroup
	var openErr, closedErr error
	// Each connection waits for its answer, at most 1.1 s: 240 keep the rate up.
	both.Go(func() { open, openErr = fire(ctx, s, public, 20, rate/4, length) })
	both.Go(func() { closed, closedErr = fire(ctx, s, private, 240, rate*3/4, length) })
	var changed, repeated int
	both.Go(func() { changed, repeated = askedAgain(t, s, length) })
	dead, asked := alive(t, s, length)
	both.Wait()
	must(t, openErr)
	must(t, closedErr)
	h.set(false)
	back := eventually(t, 20*time.Second, "it serves again", func() error { return serves(ctx, s, f) })

	slowest := max(percentile(open.all, 100), percentile(closed.all, 100))
	offered := float64(open.sum()+closed.sum()) / length.Seconds()
	if !closed.only(200, 503) || closed.unsaid > 0 {
		t.Errorf("while the database is silent: %v, %d without Retry-After", closed, closed.unsaid)
	}
	report(t, "database silent, "+length.String(), postgreSQL,
		slowest <= 1100*time.Millisecond && open.only(200) && closed.only(200, 503) && dead == 0 && changed == 0 && offered > rate*0.9,
		"200/s, every answer ≤ 1.1 s; keys, metadata, liveness 100 %",
		"%.0f/s, slowest %s; public: %v; 304 %d of %d; liveness %d of %d; the rest: %v; serving %s after", offered, ms(slowest), open, repeated-changed, repeated, asked-dead, asked, closed, ms(back))

	verify(t, s)
	if !*full {
		return
	}
	s.HTTP.CloseIdleConnections()
	time.Sleep(idle)
	left := goroutines(t, s, o)
	report(t, "goroutines after the silence", postgreSQL, left <= baseline+2, "the baseline", "%d, baseline %d", left, baseline)
}

// alive asks for liveness ten times a second and counts when that is not given.
func alive(t *testing.T, s *server.Server, length time.Duration) (dead, asked int) {
	t.Helper()
	for began := time.Now(); time.Since(began) < length; asked++ {
		response, err := s.HTTP.Get(s.Operations + "/healthz")
		if err != nil {
			dead++
			continue
		}
		if _ = response.Body.Close(); response.StatusCode != 200 {
			dead++
		}
		time.Sleep(100 * time.Millisecond)
	}
	return dead, asked
}

// askedAgain asks for what is public with the entity tag that it had, ten times a
// second, and counts when it is not 304.
func askedAgain(t *testing.T, s *server.Server, length time.Duration) (changed, asked int) {
	t.Helper()
	for began := time.Now(); time.Since(began) < length; {
		for _, path := range []string{"/.well-known/jwks.json", "/.well-known/openid-configuration"} {
			if !unchanged(s, path) {
				changed++
			}
			asked++
		}
		time.Sleep(100 * time.Millisecond)
	}
	return changed, asked
}

func unchanged(s *server.Server, path string) bool {
	etag := ""
	for _, want := range []int{http.StatusOK, http.StatusNotModified} {
		request, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
		if err != nil {
			return false
		}
		if etag != "" {
			request.Header.Set("If-None-Match", etag)
		}
		response, err := s.HTTP.Do(request)
		if err != nil {
			return false
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if etag = response.Header.Get("ETag"); response.StatusCode != want || etag == "" {
			return false
		}
	}
	return true
}

// everyKind are requests of every kind: public documents, and what needs the
// database or may need it.
func everyKind(s *server.Server, f *fleet) (public, private [][]byte) {
	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/oauth-authorization-server"} {
		public = append(public, getting(path, ""))
	}
	for _, a := range f.agents {
		private = append(private, a.request(),
			posting("/oauth2/introspect", url.Values{"token": {f.admin}, "client_id": {s.AdminID}, "client_secret": {s.AdminSecret}}),
			getting("/v1/service-accounts/"+a.id, f.admin), getting("/v1/audit-events", f.admin))
	}
	return public, private
}

func getting(path, token string) []byte {
	request := "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n"
	if token != "" {
		request += "Authorization: Bearer " + token + "\r\n"
	}
	return []byte(request + "\r\n")
}
