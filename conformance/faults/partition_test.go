package faults

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// A node that is cut off from the database cannot hear of a revocation. It may
// go on for five seconds by what it knows, and then knows that it knows nothing;
// what was revoked meanwhile is never good again, neither when the node is back nor
// after a kill -9.
func TestANodeThatIsCutOffForgetsNothingThatWasRevoked(t *testing.T) {
	shortCut(t)
	const trusted = 5 * time.Second
	length := inFull(30*time.Second, 8*time.Second)
	ctx := t.Context()
	owned, direct := ownCluster(t, "")
	h, through := newHole(t, owned.Socket(), direct)
	o := options(t, direct)
	here := start(t, o)
	o.Database = through
	o, err := server.Beside(ctx, o, t.TempDir())
	must(t, err)
	cut := start(t, o)
	admin, err := here.Token(ctx, here.AdminID, here.AdminSecret, "")
	must(t, err)
	id, secret := newAgent(ctx, t, here, admin, "agent")
	before, err := here.Token(ctx, id, secret, "urn:marque:management")
	must(t, err)
	meanwhile, err := here.Token(ctx, id, secret, "urn:marque:management")
	must(t, err)
	revoke := func(token string) {
		t.Helper()
		must(t, here.Call(ctx, admin, http.MethodPost, "/v1/revocations", map[string]string{"token": token}, nil))
	}
	revoke(before)
	eventually(t, 5*time.Second, "the node hears of a revocation", func() error { return inactive(t, cut, before) })
	if status := verdictOn(t, cut, meanwhile); status != http.StatusOK {
		t.Fatalf("before the fault: %d", status)
	}

	h.set(true)
	revoke(meanwhile)
	began := time.Now()
	var lastActive time.Duration
	var reasons string
	unavailable, revived := 0, 0
	for time.Since(began) < length {
		switch verdictOn(t, cut, before) {
		case http.StatusOK:
			revived++
		}
		switch verdictOn(t, cut, meanwhile) {
		case http.StatusOK:
			lastActive = time.Since(began)
		case http.StatusServiceUnavailable:
			unavailable++
			reasons = unready(t, cut)
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.set(false)
	back := eventually(t, 20*time.Second, "the node answers again", func() error { return inactive(t, cut, meanwhile) })
	cut.Kill()
	cut, err = server.Start(ctx, o)
	must(t, err)
	defer cut.Kill()
	for _, token := range []string{before, meanwhile} {
		if verdictOn(t, cut, token) == http.StatusOK {
			revived++
		}
	}
	report(t, "a node cut off, "+length.String(), postgreSQL,
		revived == 0 && unavailable > 0 && lastActive <= trusted+time.Second && strings.Contains(reasons, "changes"),
		"nothing revoked is good again; trusted ≤ 5 s, then 503; readiness says why",
		"%d valid again; what was revoked meanwhile was taken for %v, then %d × 503; not ready for %s; inactive %v after it is back",
		revived, lastActive.Round(100*time.Millisecond), unavailable, reasons, back.Round(time.Millisecond))
	if revived > 0 {
		t.Errorf("%d tokens that were revoked are good again", revived)
	}
}

// verdictOn is 200 for a token that introspection calls active, 404 for one that it
// does not, else the status of the answer.
func verdictOn(t *testing.T, s *server.Server, token string) int {
	t.Helper()
	status, _, body, err := s.Ask(t.Context(), s.HTTP, "/oauth2/introspect",
		url.Values{"token": {token}, "client_id": {s.AdminID}, "client_secret": {s.AdminSecret}})
	must(t, err)
	if status == http.StatusOK && strings.TrimSpace(string(body)) == `{"active":false}` {
		return http.StatusNotFound
	}
	return status
}

func inactive(t *testing.T, s *server.Server, token string) error {
	if status := verdictOn(t, s, token); status != http.StatusNotFound {
		return &server.Refusal{Call: "introspection", Status: status}
	}
	return nil
}

// unready gives the names of what is not well, by the readiness of a node.
func unready(t *testing.T, s *server.Server) string {
	t.Helper()
	response, err := s.HTTP.Get(s.Operations + "/readyz")
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	var said struct {
		Checks map[string]string `json:"checks"`
	}
	_ = json.NewDecoder(response.Body).Decode(&said)
	var names []string
	for name, state := range said.Checks {
		if state != "ok" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
