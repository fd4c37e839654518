package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// TestStoppedUnderLoad sends SIGTERM while all agents ask for tokens. Every
// request that was sent on an open connection is answered, and what was
// answered is on record.
func TestStoppedUnderLoad(t *testing.T) {
	shortCut(t)
	rounds := inFull(10, 2)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		ctx := t.Context()
		s := start(t, o)
		f := muster(ctx, t, s, writers)
		cut, answers := 0, 0
		var longest time.Duration
		for round := range rounds {
			if round > 0 {
				s = start(t, o)
				f.current.Store(s)
			}
			var wait sync.WaitGroup
			for _, a := range f.agents {
				wait.Go(func() {
					n, c := untilStopped(ctx, s, f, a)
					f.mu.Lock()
					defer f.mu.Unlock()
					answers += n
					cut += c
				})
			}
			time.Sleep(300 * time.Millisecond)
			began := time.Now()
			must(t, s.Signal(syscall.SIGTERM))
			ending, cancel := context.WithTimeout(ctx, 30*time.Second)
			err := s.Wait(ending)
			cancel()
			if err != nil {
				t.Errorf("it ended with %v", err)
			}
			longest = max(longest, time.Since(began))
			wait.Wait()
		}
		s = start(t, o)
		f.current.Store(s)
		must(t, f.create(ctx, "the-last"))
		found := compare(ctx, t, s, f, rounds)
		verify(t, s)
		if cut > 0 || !found.none() {
			t.Errorf("%d requests were cut off, %v", cut, found)
		}
		report(t, fmt.Sprintf("SIGTERM under load, %d times", rounds), database, cut == 0 && found.none() && longest <= 10*time.Second,
			"0 accepted requests reset, exit ≤ 10 s", "%d reset beside %d answers; slowest exit %s; %v", cut, answers, ms(longest), found)
	})
}

// untilStopped asks for tokens until nobody takes connections any more.
func untilStopped(ctx context.Context, s *server.Server, f *fleet, a agent) (answers, cut int) {
	var l *line
	defer func() {
		if l != nil {
			_ = l.conn.Close()
		}
	}()
	request := a.request()
	for {
		if l == nil {
			var err error
			if l, err = dial(ctx, s); err != nil {
				l = nil
				return answers, cut // no request was sent
			}
		}
		got, err := l.ask(request)
		switch {
		case errors.Is(err, errCut):
			return answers, cut + 1
		case err != nil: // not sent whole
			_ = l.conn.Close()
			l = nil
			continue
		}
		answers++
		var token struct {
			AccessToken string `json:"access_token"`
		}
		if got.status == http.StatusOK && json.Unmarshal(got.body, &token) == nil {
			if jti, err := tokenID(token.AccessToken); err == nil {
				f.mu.Lock()
				f.tokens = append(f.tokens, jti)
				f.mu.Unlock()
			}
		}
		if got.last {
			_ = l.conn.Close()
			l = nil
		}
	}
}
