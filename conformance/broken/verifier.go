package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/marque-id/marque/conformance/drivers/go/driver"
)

// accepting is a verifier that does not look at one thing: what it should have
// refused for that reason it lets in.
func accepting(reason string) func(*driver.Driver, *driver.Request, do) driver.Answer {
	return acceptingWhen(func(e *driver.Refusal) bool { return e.Code == reason })
}

func acceptingWhen(refused func(*driver.Refusal) bool) func(*driver.Driver, *driver.Request, do) driver.Answer {
	return func(_ *driver.Driver, r *driver.Request, do do) driver.Answer {
		answer := do(r)
		if r.Op != "verify" || answer.Err == nil || !refused(answer.Err) {
			return answer
		}
		parts := strings.Split(r.Token, ".")
		if len(parts) < 2 {
			return answer
		}
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		var claims struct {
			Sub      string `json:"sub"`
			ClientID string `json:"client_id"`
		}
		if json.Unmarshal(payload, &claims) != nil {
			return answer
		}
		return driver.Answer{OK: map[string]any{
			"subject": claims.Sub, "client_id": claims.ClientID, "scopes": []string{}, "roles": []string{}, "expires_at": 0,
		}}
	}
}

func keysPerToken(d *driver.Driver, r *driver.Request, do do) driver.Answer {
	if r.Op == "verify" {
		d.Again(r.On)
	}
	return do(r)
}

func kidsFloodKeys(d *driver.Driver, r *driver.Request, do do) driver.Answer {
	answer := do(r)
	if r.Op == "verify" && answer.Err != nil && answer.Err.Code == "key_unknown" {
		d.Again(r.On)
		return do(r)
	}
	return answer
}

// keysForever answers every request for keys with what came first.
func keysForever(next http.RoundTripper) roundTrip {
	var mu sync.Mutex
	var kept *http.Response
	var text []byte
	return func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if kept == nil {
			response, err := next.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			if text, err = io.ReadAll(response.Body); err != nil {
				return nil, err
			}
			kept = response
		}
		copied := *kept
		copied.Body = io.NopCloser(bytes.NewReader(text))
		return &copied, nil
	}
}

// protected changes what the middleware answers.
func protected(change func(object map[string]any)) func(*driver.Driver, *driver.Request, do) driver.Answer {
	return func(_ *driver.Driver, r *driver.Request, do do) driver.Answer {
		answer := do(r)
		if ok, is := answer.OK.(map[string]any); is && r.Op == "protect" {
			change(ok)
		}
		return answer
	}
}

func badTokenIs500(d *driver.Driver, r *driver.Request, do do) driver.Answer {
	return protected(func(answer map[string]any) {
		if answer["status"] == http.StatusUnauthorized && len(r.Request.Headers) > 0 {
			answer["status"] = http.StatusInternalServerError
		}
	})(d, r, do)
}

func noChallenge(d *driver.Driver, r *driver.Request, do do) driver.Answer {
	return protected(func(answer map[string]any) { delete(answer["headers"].(map[string]string), "www-authenticate") })(d, r, do)
}

func keyFetchIs401(d *driver.Driver, r *driver.Request, do do) driver.Answer {
	return protected(func(answer map[string]any) {
		if answer["status"] == http.StatusServiceUnavailable {
			answer["status"] = http.StatusUnauthorized
		}
	})(d, r, do)
}
