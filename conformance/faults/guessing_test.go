package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// wrongSecret is a secret that is well formed but for its checksum, and nobody's.
func wrongSecret(like string) string {
	b := []byte(like)
	for i := 4; i < len(b); i++ {
		b[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[rand.IntN(62)]
	}
	return string(b)
}

// unknownClient is an id that is well formed and nobody's.
func unknownClient(like string) string {
	b := []byte(like)
	for i := 13; i < len(b); i++ {
		b[i] = "0123456789abcdefghjkmnpqrstvwxyz"[rand.IntN(32)]
	}
	return string(b)
}

func signIn(id, secret string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
}

// TestGuessing lets somebody guess the secret of an agent without pause while
// the agent itself asks for tokens from another address.
func TestGuessing(t *testing.T) {
	shortCut(t)
	length := inFull(20*time.Second, 2*time.Second)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		s := start(t, o)
		ctx := t.Context()
		f := muster(ctx, t, s, 1)
		victim := f.agents[0]
		guesser, agent := s.From("127.0.0.1"), s.From("127.0.0.2")

		var over atomic.Bool
		served, failed := 0, 0
		var wait sync.WaitGroup
		wait.Go(func() {
			for !over.Load() {
				if status, _, _, err := s.Ask(ctx, agent, "/oauth2/token", signIn(victim.id, victim.secret)); err == nil && status == http.StatusOK {
					served++
				} else {
					failed++
				}
			}
		})
		tries, throttled, unsaid := 0, 0, 0
		for began := time.Now(); time.Since(began) < length; {
			status, header, body, err := s.Ask(ctx, guesser, "/oauth2/token", signIn(victim.id, wrongSecret(victim.secret)))
			must(t, err)
			if tries++; tries <= 10 {
				continue
			}
			switch status {
			case http.StatusTooManyRequests:
				throttled++
				if header.Get("Retry-After") == "" {
					unsaid++
				}
			case http.StatusUnauthorized:
			default:
				t.Errorf("a guess is answered with %d: %s", status, body)
			}
		}
		over.Store(true)
		wait.Wait()
		share := 100 * float64(throttled) / float64(max(tries-10, 1))
		if share < 95 || failed > 0 || served == 0 || unsaid > 0 {
			t.Errorf("%.1f %% throttled, %d of %d calls of the agent failed, %d without Retry-After", share, failed, served+failed, unsaid)
		}
		report(t, "guessing", database, share >= 99 && failed == 0 && unsaid == 0,
			"≥ 99 % throttled after 10 tries, the true agent elsewhere 100 % served",
			"%.2f %% of %d guesses throttled; the agent: %d served, %d not", share, tries-10, served, failed)
	})
}

// TestEnumeration compares what an unknown client is answered with what a wrong
// secret is answered: alike in every byte but the request id, and in full also
// in time.
func TestEnumeration(t *testing.T) {
	shortCut(t)
	tries := inFull(2000, 60)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		s := start(t, o)
		ctx := t.Context()
		f := muster(ctx, t, s, 8)
		var times [2][]time.Duration
		shapes := map[string]int{}
		var client *http.Client
		for n := range tries {
			if n%5 == 0 { // few tries from each address, so that none is throttled
				if client != nil {
					client.CloseIdleConnections()
				}
				client = s.From(fmt.Sprintf("127.1.%d.%d", n/5/250, 1+n/5%250))
				status, _, _, err := s.Ask(ctx, client, "/oauth2/introspect", url.Values{}) // opens the connection
				if must(t, err); status == http.StatusOK {
					t.Fatal("an empty form is not an answer")
				}
			}
			known := f.agents[n%len(f.agents)]
			cases := []url.Values{signIn(unknownClient(known.id), wrongSecret(known.secret)), signIn(known.id, wrongSecret(known.secret))}
			for _, which := range rand.Perm(2) {
				began := time.Now()
				status, header, body, err := s.Ask(ctx, client, "/oauth2/token", cases[which])
				times[which] = append(times[which], time.Since(began))
				must(t, err)
				for _, name := range []string{"X-Request-Id", "Date"} {
					if header.Get(name) != "" {
						header.Set(name, "…")
					}
				}
				text, _ := json.Marshal(header)
				shapes[fmt.Sprintf("%d %s %s", status, text, body)]++
			}
		}
		if len(shapes) != 1 {
			t.Errorf("the answers differ: %v", shapes)
		}
		unknown, wrong := percentile(times[0], 50), percentile(times[1], 50)
		difference := 100 * (float64(unknown)/float64(wrong) - 1)
		report(t, fmt.Sprintf("enumeration, 2 × %d tries", tries), database, len(shapes) == 1 && difference <= 10 && difference >= -10,
			"one answer, medians within 10 %", "%d answer(s); medians: unknown client %s, wrong secret %s (%+.1f %%)",
			len(shapes), ms(unknown), ms(wrong), difference)
	})
}
