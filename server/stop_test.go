package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestSIGTERMAnswersWhatWasAccepted: while clients ask for tokens without pause,
// the server is told to stop. Every request that reached it on an open
// connection is answered; a client that finds no listener any more has sent
// nothing.
func TestSIGTERMAnswersWhatWasAccepted(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())
	secret := s.adminSecret(t)

	var answered, lost atomic.Int64
	var some sync.WaitGroup // each client has been answered some times
	var clients sync.WaitGroup
	for range 8 {
		client := s.client(t)
		some.Add(1)
		clients.Go(func() {
			for n := 1; ; n++ {
				sent, status, err := s.askForToken(client, secret)
				switch {
				case err == nil && status == http.StatusOK:
					answered.Add(1)
				case err != nil && !sent:
					return // the listener is gone
				default:
					lost.Add(1)
					t.Logf("status %d, %v", status, err)
					return
				}
				if n == 20 {
					some.Done()
				}
			}
		})
	}
	some.Wait()
	s.signal(t, syscall.SIGTERM)
	if code := s.wait(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
	clients.Wait()
	if lost.Load() != 0 {
		t.Errorf("%d requests were lost beside %d that were answered", lost.Load(), answered.Load())
	}

	code, out, stderr := run(t, nil, "audit", "verify", "--dev", "--data-dir", s.dir)
	if code != 0 || !strings.Contains(out, "not yet under a checkpoint: 0") {
		t.Errorf("the last checkpoint does not cover everything: exit code %d\n%s%s", code, out, stderr)
	}
}

// askForToken tells beside the answer whether the request was written at all.
func (s *server) askForToken(client *http.Client, secret string) (sent bool, status int, err error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.profile.ClientID}, "client_secret": {secret}}
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		WroteRequest: func(info httptrace.WroteRequestInfo) { sent = info.Err == nil },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.profile.Issuer+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return false, 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return sent, 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	return sent, response.StatusCode, errors.Join(err, response.Body.Close())
}

func TestASecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())
	// A client that has begun a request and does not end it keeps the server
	// waiting after the first signal.
	stalled := stall(t, s)
	s.signal(t, os.Interrupt)
	stalled.awaitRefusal(t)
	s.signal(t, os.Interrupt)
	if code := s.wait(t); code == 0 {
		t.Error("it ended well although a request was open")
	}
}
