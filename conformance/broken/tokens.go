package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/marque-id/marque/conformance/drivers/go/driver"
	marque "github.com/marque-id/marque/sdks/go"
)

func tokenPerCall(d *driver.Driver, r *driver.Request, do do) driver.Answer {
	if r.Op == "call" || r.Op == "token" {
		d.Again(r.On)
	}
	return do(r)
}

// noSingleFlight gives each of several callers a token source of its own.
func noSingleFlight(d *driver.Driver, r *driver.Request, do do) driver.Answer {
	if r.Op != "parallel" {
		return do(r)
	}
	answers := make([]driver.Answer, r.Count)
	var all sync.WaitGroup
	for i := range answers {
		as := fmt.Sprintf("twin%d", i)
		d.Twin(r.Run.On, as)
		run := *r.Run
		run.On = as
		all.Go(func() { answers[i] = do(&run) })
	}
	all.Wait()
	return driver.Answer{OK: map[string]any{"answers": answers}}
}

func leaderTakesPeersAlong(d *driver.Driver, r *driver.Request, do do) driver.Answer {
	if r.Op == "cancel" {
		d.CancelAll()
	}
	return do(r)
}

func refreshedAtEveryCall(_ *driver.Driver, r *driver.Request, do do) driver.Answer {
	if r.Op == "new" {
		r.RefreshWindows = &struct{ Advisory, Mandatory float64 }{120, 120}
	}
	return do(r)
}

func secretReadOnce(_ *driver.Driver, r *driver.Request, do do) driver.Answer {
	if r.Op == "new" && r.Credentials != nil {
		readNow(&r.Credentials.ClientSecretFile, &r.Credentials.ClientSecret)
		readNow(&r.Credentials.APIKeyFile, &r.Credentials.APIKey)
	}
	return do(r)
}

func readNow(file, secret *string) {
	if text, err := os.ReadFile(*file); err == nil {
		*secret, *file = strings.TrimSpace(string(text)), ""
	}
}

// keyInQuery sends an API key where proxies log it.
func keyInQuery(next http.RoundTripper) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != "/v1/login" {
			return next.RoundTrip(r)
		}
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		var body map[string]string
		if err := json.Unmarshal(text, &body); err != nil {
			return nil, err
		}
		r.URL.RawQuery = url.Values{"api_key": {body["api_key"]}}.Encode()
		r.Body = io.NopCloser(bytes.NewReader(text))
		return next.RoundTrip(r)
	}
}

// stoppedClock shows the time at which it was first looked at.
type stoppedClock struct {
	marque.Clock
	once  sync.Once
	first time.Time
}

func stopped(c marque.Clock) marque.Clock { return &stoppedClock{Clock: c} }

// Now is always the same.
func (c *stoppedClock) Now() time.Time {
	c.once.Do(func() { c.first = c.Clock.Now() })
	return c.first
}

func keepFirstToken(next http.RoundTripper) roundTrip {
	var first atomic.Value
	return func(r *http.Request) (*http.Response, error) {
		if header := r.Header.Get("Authorization"); strings.HasPrefix(header, "Bearer ") {
			first.CompareAndSwap(nil, header)
			r.Header.Set("Authorization", first.Load().(string))
		}
		return next.RoundTrip(r)
	}
}

// dropEverything forgets the tokens for all APIs once one API has said 401.
func dropEverything() driver.Bent {
	var refused atomic.Bool
	return driver.Bent{
		Transport: on(func(next http.RoundTripper) roundTrip {
			return func(r *http.Request) (*http.Response, error) {
				response, err := next.RoundTrip(r)
				if err == nil && response.StatusCode == http.StatusUnauthorized {
					refused.Store(true)
				}
				return response, err
			}
		}),
		Do: func(d *driver.Driver, r *driver.Request, do do) driver.Answer {
			if r.On != "" && refused.Swap(false) {
				d.Again(r.On)
			}
			return do(r)
		},
	}
}
