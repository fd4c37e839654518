package main

import (
	"bytes"
	"net/http"
	"testing"
)

// A client that is told that its body is too large is still sending it.
func TestBodyThatIsTooLargeGetsItsAnswer(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())
	client := s.client(t)
	body := bytes.Repeat([]byte("x"), 900<<10)
	for range 50 {
		response, err := client.Post(s.profile.Issuer+"/oauth2/token", "application/x-www-form-urlencoded", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusRequestEntityTooLarge {
			t.Fatalf("status %d", response.StatusCode)
		}
	}
}
