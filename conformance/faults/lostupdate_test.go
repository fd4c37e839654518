package faults

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// TestLostUpdate lets 32 writers change what they have all read in the same
// version: one of them wins, the others are told, and what is there is what the
// winner wrote.
func TestLostUpdate(t *testing.T) {
	shortCut(t)
	const competitors = 32
	rounds := inFull(50, 5)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		s := start(t, o)
		ctx := t.Context()
		f := muster(ctx, t, s, 1)
		url := s.URL + "/v1/service-accounts/" + f.agents[0].id
		do := func(method, match, body string) (status int, etag, text string) {
			request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewBufferString(body))
			if err != nil {
				return 0, "", err.Error()
			}
			request.Header.Set("Authorization", "Bearer "+f.admin)
			if body != "" {
				request.Header.Set("Content-Type", "application/merge-patch+json")
			}
			if match != "" {
				request.Header.Set("If-Match", match)
			}
			response, err := s.HTTP.Do(request)
			if err != nil {
				return 0, "", err.Error()
			}
			defer func() { _ = response.Body.Close() }()
			content, _ := io.ReadAll(response.Body)
			return response.StatusCode, response.Header.Get("ETag"), string(content)
		}
		wins, losses, others, unlike := 0, 0, 0, 0
		for round := range rounds {
			_, etag, _ := do(http.MethodGet, "", "")
			var wait sync.WaitGroup
			var mu sync.Mutex
			winner := ""
			for n := range competitors {
				wait.Go(func() {
					var status int
					var text string
					// On a machine that is short of time, 32 in a line are too many for
					// its last: who is told so asks again, as every SDK does.
					for range 6 {
						status, _, text = do(http.MethodPatch, etag, fmt.Sprintf(`{"owner":"writer-%d-%d"}`, round, n))
						if status != http.StatusServiceUnavailable {
							break
						}
						time.Sleep(time.Second)
					}
					mu.Lock()
					defer mu.Unlock()
					switch status {
					case http.StatusOK:
						wins++
						winner = fmt.Sprintf(`"owner":"writer-%d-%d"`, round, n)
					case http.StatusPreconditionFailed:
						losses++
					default:
						others++
						t.Logf("%d %s", status, text)
					}
				})
			}
			wait.Wait()
			if _, _, text := do(http.MethodGet, "", ""); !bytes.Contains([]byte(text), []byte(winner)) || winner == "" {
				unlike++
			}
		}
		if wins != rounds || losses != rounds*(competitors-1) || unlike > 0 {
			t.Errorf("%d rounds: %d wins, %d losses, %d others, %d times something else was kept", rounds, wins, losses, others, unlike)
		}
		verify(t, s)
		report(t, fmt.Sprintf("lost update, %d rounds of 32", rounds), database, wins == rounds && losses == rounds*(competitors-1) && unlike == 0,
			"one 200 each, the rest 412", "%d × 200, %d × 412, %d others; the winner's was kept: %t", wins, losses, others, unlike == 0)
	})
}
