package main

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
)

// Streams do not end by themselves: a server that waited for them would never
// stop, and one that cut them would leave followers to guess.
func TestSIGTERMEndsStreamsFirst(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())
	token := s.adminToken(t, s.client(t))
	const followers = 20
	ended := make(chan error, followers)
	for range followers {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.profile.Issuer+"/v1/revocations/feed", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		client := s.client(t)
		client.Timeout = 0
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body := bufio.NewReader(response.Body)
		if line, err := body.ReadString('\n'); err != nil || !strings.HasPrefix(line, "retry: ") || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %q %v", response.Status, line, err)
		}
		go func() {
			_, err := io.Copy(io.Discard, body)
			_ = response.Body.Close()
			ended <- err
		}()
	}
	began := clock.System().Now()
	s.signal(t, syscall.SIGTERM)
	for range followers {
		if err := <-ended; err != nil {
			t.Errorf("a stream was cut off: %v", err)
		}
	}
	if code := s.wait(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
	// Who waited for the streams would wait all of shutdown_timeout, which is 8 s.
	if took := clock.System().Since(began); took > 6*time.Second {
		t.Errorf("it took %s to stop", took)
	}
}
