package marque

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// api answers for another API at https://api.example.com: 401 to tok-1.
func api() *wire {
	return serving(func(_ int, s sent) *http.Response {
		if s.header.Get("Authorization") == "Bearer tok-1" && strings.Contains(s.url, "refuse") {
			return respond(401, "no")
		}
		return respond(200, "yes "+s.body)
	})
}

func TestOtherAPIsAreCalledWithATokenForThem(t *testing.T) {
	t.Parallel()
	w := api()
	client, _ := newTestClient(t, w)
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example.com/x", nil)
	response, err := client.HTTPClient("https://api.example.com", "x:read").Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if form := w.sent[0].body; !strings.Contains(form, "resource=https%3A%2F%2Fapi.example.com") || !strings.Contains(form, "scope=x%3Aread") {
		t.Errorf("asked with %s", form)
	}
	if w.sent[1].header.Get("Authorization") != "Bearer tok-1" {
		t.Error("the request carries no token")
	}
	if request.Header.Get("Authorization") != "" {
		t.Error("the caller's request was changed")
	}
}

func TestA401OfAnotherAPIIsReplayedWhereTheBodyAllows(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body io.Reader
		want string
		sent int
	}{
		"no body":             {nil, "yes ", 2},
		"a body in memory":    {strings.NewReader("text"), "yes text", 2},
		"a body that streams": {io.MultiReader(strings.NewReader("text")), "no", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := api()
			client, _ := newTestClient(t, w)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/refuse", test.body)
			if err != nil {
				t.Fatal(err)
			}
			response, err := client.HTTPClient("r").Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(response.Body)
			if got := w.to("/refuse"); string(body) != test.want || len(got) != test.sent {
				t.Errorf("%q after %d requests", body, len(got))
			}
			// Either way the token is gone.
			if text(t, client.TokenSource("r")) != "tok-2" {
				t.Error("the refused token is still handed out")
			}
		})
	}
}

func TestATokenFollowsNoRedirectToAnotherOrigin(t *testing.T) {
	t.Parallel()
	w := serving(func(_ int, s sent) *http.Response {
		switch path(s.url) {
		case "https://api.example.com/away":
			return respond(302, "", "Location", "https://evil.example.com/catch")
		case "https://api.example.com/here":
			return respond(302, "", "Location", "/there")
		case "https://evil.example.com/catch":
			return respond(302, "", "Location", "https://evil.example.com/again")
		}
		return respond(200, "")
	})
	client, _ := newTestClient(t, w)
	for _, from := range []string{"away", "here"} {
		response, err := client.HTTPClient("r").Get("https://api.example.com/" + from)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	for suffix, want := range map[string]string{"/catch": "", "/again": "", "/there": "Bearer tok-1"} {
		if got := w.to(suffix); len(got) != 1 || got[0].header.Get("Authorization") != want {
			t.Errorf("%s was asked with %q", suffix, got[0].header.Get("Authorization"))
		}
	}
}

func TestATokenIsNotSentInClearOverANetwork(t *testing.T) {
	t.Parallel()
	w := api()
	client, _ := newTestClient(t, w)
	body := &closing{Reader: strings.NewReader("x")}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api.example.com/", body)
	_, err := client.HTTPClient("r").Do(request)
	if failure(t, err, KindConfiguration); len(w.sent) != 0 || !body.closed {
		t.Errorf("%v; %d requests, body closed %v", err, len(w.sent), body.closed)
	}
	for _, host := range []string{"localhost:8080", "127.0.0.1", "[::1]:9"} {
		response, err := client.HTTPClient("r").Get("http://" + host + "/")
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestWithoutATokenTheRequestIsNotSent(t *testing.T) {
	t.Parallel()
	w := &wire{answer: func(int, sent, *http.Request) (*http.Response, error) {
		return respond(401, `{"error":"invalid_client"}`), nil
	}}
	client, _ := newTestClient(t, w)
	_, err := client.HTTPClient("r").Post("https://api.example.com/", "text/plain", bytes.NewReader([]byte("x")))
	if e := failure(t, err, KindAuthentication); e.Code != ErrorCodeInvalidClient || len(w.sent) != 1 {
		t.Errorf("%v after %d requests", err, len(w.sent))
	}
	if !errors.As(err, new(*Error)) {
		t.Error("net/http hides the error")
	}
}
