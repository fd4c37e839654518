package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/marque-id/marque/conformance/drivers/go/driver"
)

func forgetRetryAfter(next http.RoundTripper) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err == nil {
			response.Header.Del("Retry-After")
		}
		return response, err
	}
}

func replayPatches(next http.RoundTripper) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		again := r.Clone(r.Context())
		response, err := next.RoundTrip(r)
		if err != nil || r.Method != http.MethodPatch || response.StatusCode < 500 || r.GetBody == nil {
			return response, err
		}
		_ = response.Body.Close()
		if again.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
		return next.RoundTrip(again)
	}
}

func keyPerAttempt(next http.RoundTripper) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Idempotency-Key") != "" {
			r.Header.Set("Idempotency-Key", rand.Text())
		}
		return next.RoundTrip(r)
	}
}

func forgetKey(next http.RoundTripper) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		r.Header.Del("Idempotency-Key")
		return next.RoundTrip(r)
	}
}

func forgetIfMatch(next http.RoundTripper) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		r.Header.Del("If-Match")
		return next.RoundTrip(r)
	}
}

// patched sends merge patches changed.
func patched(next http.RoundTripper, change func(map[string]any)) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPatch {
			return next.RoundTrip(r)
		}
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return nil, err
		}
		change(body)
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		return next.RoundTrip(r)
	}
}

func absentAsNull(next http.RoundTripper) roundTrip {
	return patched(next, func(body map[string]any) {
		for _, name := range []string{"description", "labels", "expires_at"} {
			if _, there := body[name]; !there {
				body[name] = nil
			}
		}
	})
}

func nullDropped(next http.RoundTripper) roundTrip {
	return patched(next, func(body map[string]any) {
		for name, value := range body {
			if value == nil {
				delete(body, name)
			}
		}
	})
}

// answered gives answers in JSON changed.
func answered(next http.RoundTripper, change func(map[string]any)) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err != nil || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
			return response, err
		}
		text, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, err
		}
		var body map[string]any
		if json.Unmarshal(text, &body) == nil {
			change(body)
			if text, err = json.Marshal(body); err != nil {
				return nil, err
			}
		}
		response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		response.Header.Del("Content-Length")
		return response, nil
	}
}

func firstPageOnly(next http.RoundTripper) roundTrip {
	return answered(next, func(body map[string]any) { delete(body, "next_page_token") })
}

func followRedirects(next http.RoundTripper) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		response, err := next.RoundTrip(r)
		if err != nil || response.Header.Get("Location") == "" || response.StatusCode/100 != 3 {
			return response, err
		}
		target, err := response.Location()
		if err != nil {
			return response, nil
		}
		_ = response.Body.Close()
		again := r.Clone(r.Context())
		again.URL = target
		if r.GetBody != nil {
			if again.Body, err = r.GetBody(); err != nil {
				return nil, err
			}
		}
		return next.RoundTrip(again)
	}
}

func trustAll(t *http.Transport) http.RoundTripper {
	t.TLSClientConfig.InsecureSkipVerify = true
	return t
}

func unknownValueIsError(_ *driver.Driver, r *driver.Request, do do) driver.Answer {
	answer := do(r)
	ok, _ := answer.OK.(map[string]any)
	value, _ := ok["value"].(map[string]any)
	if kind, is := value["kind"]; is && !known(kind, "agent", "service", "job", "device") {
		return driver.Answer{Err: &driver.Refusal{Kind: "protocol", Text: "an unknown kind"}}
	}
	return answer
}

func known(value any, values ...string) bool {
	text, err := json.Marshal(value)
	for _, v := range values {
		if err == nil && string(text) == `"`+v+`"` {
			return true
		}
	}
	return false
}

func unknownCodeIsLost(_ *driver.Driver, r *driver.Request, do do) driver.Answer {
	answer := do(r)
	if answer.Err != nil && !known(answer.Err.Code, "not_found", "invalid_token", "unavailable") {
		answer.Err.Code = ""
	}
	return answer
}

// leak is the secret that a client was made with.
var leak string

func remember(r *driver.Request) {
	if r.Op == "new" && r.Credentials != nil {
		leak = r.Credentials.ClientSecret + r.Credentials.APIKey // it has one of them
	}
}

func secretInError(_ *driver.Driver, r *driver.Request, do do) driver.Answer {
	remember(r)
	answer := do(r)
	if answer.Err != nil {
		answer.Err.Text += " (signed in with " + leak + ")"
	}
	return answer
}

func secretInPrint(_ *driver.Driver, r *driver.Request, do do) driver.Answer {
	remember(r)
	answer := do(r)
	if ok, is := answer.OK.(map[string]any); is && r.Op == "new" {
		ok["text"] = "Client(secret=" + leak + ")"
	}
	return answer
}
