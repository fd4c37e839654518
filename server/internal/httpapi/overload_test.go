package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
)

func TestOverloadRefusesTokensAndNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.apiKey(w.admin.id, `{"name":"k"}`).str("api_key")
	for range places {
		must(t, w.gate.Enter())
	}
	form := []string{"grant_type", "client_credentials", "client_id", w.admin.id, "client_secret", w.admin.secret}
	asked := clock.System().Now()
	refused := w.post("/oauth2/token", form...).is(t, http.StatusServiceUnavailable)
	if took := clock.System().Since(asked); took < 150*time.Millisecond {
		t.Errorf("refused after %v: it waits a tenth of a second for its turn, and its answer is held back", took)
	}
	if refused.str("error") != "temporarily_unavailable" || refused.Header.Get("Retry-After") != "1" {
		t.Errorf("%v, Retry-After %q", refused, refused.Header.Get("Retry-After"))
	}
	if a := w.login(key).is(t, http.StatusServiceUnavailable); a.str("code") != "unavailable" || a.Header.Get("Retry-After") != "1" {
		t.Errorf("%v, Retry-After %q", a, a.Header.Get("Retry-After"))
	}
	// Whoever stops an agent, and whoever checks its token, gets through.
	agent := w.account("agent")
	w.as(http.MethodPost, "/v1/service-accounts/"+agent.id+"/disable", "").is(t, http.StatusOK)
	w.post("/oauth2/introspect", "token", w.adminToken, "client_id", w.admin.id, "client_secret", w.admin.secret).is(t, http.StatusOK)

	// While the crowd stays fewer places are open than are taken here; it is gone
	// when nobody has had to wait for a tenth of a second.
	<-clock.System().After(150 * time.Millisecond)
	w.gate.Leave()
	w.post("/oauth2/token", form...).is(t, http.StatusOK)
	w.login(key, "resource", "urn:marque:management").is(t, http.StatusOK)
	w.post("/oauth2/token", form...).is(t, http.StatusOK) // which shows that the place was given back
}
