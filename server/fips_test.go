package main

import (
	"net/http"
	"net/url"
	"testing"
)

// Where an operator has Go refuse all that FIPS 140 does not approve of, a server
// starts and does what it is there for.
func TestAServerServesInFIPS140OnlyMode(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir(), "GODEBUG=fips140=only")
	client := s.client(t)
	token := s.adminToken(t, client)
	if status := s.call(t, client, token, http.MethodGet, "/v1/whoami", "", nil); status != http.StatusOK {
		t.Errorf("whoami: %d", status)
	}
	for range 2 { // the second time the words are known
		response, err := client.PostForm(s.profile.Issuer+"/oauth2/introspect", url.Values{
			"token": {token}, "client_id": {s.profile.ClientID}, "client_secret": {s.adminSecret(t)},
		})
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Active bool }
		if text := read(t, response, &answer); response.StatusCode != http.StatusOK || !answer.Active {
			t.Errorf("%s: %s", response.Status, text)
		}
	}
}
