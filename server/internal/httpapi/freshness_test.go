package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// outOfDate is a world that may have missed a revocation: it cannot ask the
// database any more, and what it knows is older than the 5 s that it may be.
// Before, the guard has asked, so that its words are recalled and everything
// that an answer rests on is in memory.
func outOfDate(t *testing.T) (*world, *asking) {
	t.Helper()
	elapsed := testkit.Clock(t)
	w := newWorldOn(t, store.Options{URL: testkit.Postgres(t), Elapsed: elapsed}, rates{limit.MaxPerMinute, limit.MaxPerMinute, limit.MaxPerMinute})
	a := w.asking()
	for name, ask := range a.ways() {
		if got := ask(w).is(t, http.StatusOK); got.member("active") != true {
			t.Fatalf("%s: %s", name, got.text)
		}
	}
	w.as(http.MethodGet, "/v1/whoami", "").is(t, http.StatusOK)
	must(t, w.store.Close(t.Context()))
	elapsed.Advance(6 * time.Second)
	return w, a
}

// isUnavailable fails the test unless the answer is that nothing can be told
// now. A challenge beside it would say that the caller's token is to blame.
func (a answer) isUnavailable(t *testing.T, name, member, code string) {
	t.Helper()
	if a.StatusCode != http.StatusServiceUnavailable || a.str(member) != code {
		t.Errorf("%s: %d %s, want 503 %s", name, a.StatusCode, a.text, code)
	}
	if h := a.Header; h.Get("Retry-After") != "1" || h.Get("Cache-Control") != "no-store" || h.Values("WWW-Authenticate") != nil {
		t.Errorf("%s: %v", name, h)
	}
}

func TestABearerIsNotChallengedForAFailureOfOurs(t *testing.T) {
	t.Parallel()
	w, a := outOfDate(t)
	for name, bearer := range map[string]string{"good": w.adminToken, "garbage": "garbage"} {
		for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
			w.post(path, "Authorization:", "Bearer "+bearer, "token", a.token).
				isUnavailable(t, name+" bearer at "+path, "error", "temporarily_unavailable")
		}
		w.send(bearer, http.MethodGet, "/v1/whoami", "").isUnavailable(t, name+" bearer at /v1", "code", "unavailable")
	}
}

// Who is told that a revoked token is active lets its bearer in, and who is told
// that a good one is not turns it away: the answer is neither. It is the same
// for words that are recalled and for those that are read, and for a token of
// whatever kind, so that it does not depend on how far that got.
func TestNothingIsToldOfATokenWhileARevocationMayBeMissing(t *testing.T) {
	t.Parallel()
	w, a := outOfDate(t)
	for way, ask := range a.ways() {
		ask(w).isUnavailable(t, way+", the same words", "error", "temporarily_unavailable")
		ask(w, "unknown", "x").isUnavailable(t, way+", other words", "error", "temporarily_unavailable")
	}
	a.token = "garbage"
	for way, ask := range a.ways() {
		ask(w).isUnavailable(t, way+", garbage", "error", "temporarily_unavailable")
	}
}
