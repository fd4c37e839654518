package faults

import (
	"bufio"
	"context"
	"crypto/rand"
	bits "encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// TestARevocationOutlivesAKill kills the server while it revokes: what it has
// acknowledged is revoked after the restart, from the first answer on, and the
// snapshot has it.
func TestARevocationOutlivesAKill(t *testing.T) {
	shortCut(t)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		rounds := inFull(20, 3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds)*15*time.Second+time.Minute)
		defer cancel()
		s, err := server.Start(ctx, o)
		must(t, err)
		f := muster(ctx, t, s, 1)
		acknowledged := map[string]bool{}
		lost := 0
		for range rounds {
			token, err := s.Token(ctx, f.agents[0].id, f.agents[0].secret, audience)
			must(t, err)
			must(t, s.Call(ctx, f.admin, http.MethodPost, "/v1/revocations", map[string]any{"token": token}, nil))
			stop := time.AfterFunc(200*time.Millisecond, s.Kill)
			for {
				id := newTokenID()
				if s.Call(ctx, f.admin, http.MethodPost, "/v1/revocations", map[string]any{"token_id": id}, nil) != nil {
					break
				}
				acknowledged[id] = true
			}
			stop.Stop()
			s.Kill()
			s, err = server.Start(ctx, o)
			must(t, err)
			status, _, state, err := s.Ask(ctx, s.HTTP, "/oauth2/introspect", url.Values{"token": {token}, "client_id": {s.AdminID}, "client_secret": {s.AdminSecret}})
			must(t, err)
			var snapshot struct {
				Tokens []struct {
					IDs []string `json:"ids"`
				} `json:"tokens"`
			}
			must(t, s.Call(ctx, f.admin, http.MethodGet, "/v1/revocations/snapshot", nil, &snapshot))
			there := map[string]bool{}
			for _, group := range snapshot.Tokens {
				for _, id := range group.IDs {
					there[id] = true
				}
			}
			for id := range acknowledged {
				if !there[id] {
					lost++
					t.Errorf("%s was acknowledged as revoked, and is not", id)
				}
			}
			if string(state) != `{"active":false}` {
				lost++
				t.Errorf("a token that was revoked is answered for with %d %s", status, state)
			}
		}
		s.Kill()
		report(t, fmt.Sprintf("kill -9 while revoking, %d times", rounds), database, lost == 0 && len(acknowledged) > 0,
			"0 revoked valid again", "%d of %d", lost, len(acknowledged))
	})
}

// TestFollowersHearOfARevocation measures how long it takes until the last of a
// thousand followers has heard.
func TestFollowersHearOfARevocation(t *testing.T) {
	shortCut(t)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		n := inFull(1000, 50)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		o.Env = map[string]string{"MARQUE_REVOCATIONS_FOLLOWERS_PER_ACCOUNT": "2000"}
		s, err := server.Start(ctx, o)
		must(t, err)
		defer s.Kill()
		f := muster(ctx, t, s, 1)
		took := make([]time.Duration, n)
		var began time.Time
		var ready, heard sync.WaitGroup
		release := make(chan struct{})
		for i := range n {
			l, err := dial(ctx, s)
			must(t, err)
			defer func() { _ = l.conn.Close() }()
			_, err = io.WriteString(l.conn, "GET /v1/revocations/feed HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+f.admin+"\r\n\r\n")
			must(t, err)
			until(t, l.in, "event: hello")
			ready.Add(1)
			heard.Go(func() {
				ready.Done()
				<-release
				until(t, l.in, "event: revoked")
				took[i] = time.Since(began)
			})
		}
		ready.Wait()
		began = time.Now()
		close(release)
		must(t, s.Call(ctx, f.admin, http.MethodPost, "/v1/revocations", map[string]any{"token_id": newTokenID()}, nil))
		heard.Wait()
		var slowest time.Duration
		for _, d := range took {
			slowest = max(slowest, d)
		}
		report(t, fmt.Sprintf("a revocation to %d followers", n), database, slowest <= 250*time.Millisecond,
			"the last ≤ 250 ms after the call", "%s", ms(slowest))
	})
}

// until reads a stream up to a line.
func until(t *testing.T, stream *bufio.Reader, line string) {
	for {
		text, err := stream.ReadString('\n')
		if err != nil {
			t.Errorf("the stream ended before %s: %v", line, err)
			return
		}
		if strings.TrimSpace(text) == line {
			return
		}
	}
}

// newTokenID makes an id as the server makes them, of a token that nobody has.
func newTokenID() string {
	const crockford = "0123456789abcdefghjkmnpqrstvwxyz"
	var b [16]byte
	_, _ = rand.Read(b[6:])
	bits.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())<<16|uint64(b[6])<<8|uint64(b[7]))
	hi, lo := bits.BigEndian.Uint64(b[:8]), bits.BigEndian.Uint64(b[8:])
	out := make([]byte, 26)
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return "tok_" + string(out)
}
