package httpapi

import (
	"net/http"
	"testing"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/testkit"
)

// onEachDatabase runs a test in a new world on each database.
func onEachDatabase(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		fn(t, newWorldWith(t, url, rates{limit.MaxPerMinute, limit.MaxPerMinute, limit.MaxPerMinute}))
	})
}

// RFC 8707 section 2: what is asked for by resource, or its alias audience.
func TestResourceIndicators(t *testing.T) {
	onEachDatabase(t, func(t *testing.T, w *world) {
		rs, role := w.invoices()
		w.as(http.MethodPost, "/v1/resource-servers", `{"identifier":"https://payroll.example.com","name":"payroll","permissions":[{"name":"invoices:read"}]}`).is(t, 201)
		bare, agent := w.account("bare", role), w.account("agent", role)
		w.as(http.MethodPatch, "/v1/service-accounts/"+agent.id, `{"default_resource_server":"`+rs+`"}`).is(t, 200)
		const mine = "https://invoices.example.com"
		for _, c := range []struct {
			name string
			who  client
			form []string
			want string // the audience, or else the error
		}{
			{"exactly", bare, []string{"resource", mine}, mine},
			{"its alias", bare, []string{"audience", mine}, mine},
			{"both", bare, []string{"resource", mine, "audience", mine}, mine},
			{"the default", agent, nil, mine},
			{"no default", bare, nil, "invalid_target"},
			{"relative", agent, []string{"resource", "/invoices"}, "invalid_target"},
			{"without a scheme", agent, []string{"resource", "invoices.example.com"}, "invalid_target"},
			{"a fragment", agent, []string{"resource", mine + "#x"}, "invalid_target"},
			{"an empty fragment", agent, []string{"resource", mine + "#"}, "invalid_target"},
			{"unknown", agent, []string{"resource", "https://unknown.example.com"}, "invalid_target"},
			{"not allowed", agent, []string{"resource", "https://payroll.example.com"}, "invalid_target"},
			{"not allowed, management", agent, []string{"resource", identity.ManagementIdentifier}, "invalid_target"},
			{"more than is registered", agent, []string{"resource", mine + "/"}, "invalid_target"},
			{"another case", agent, []string{"resource", "https://INVOICES.example.com"}, "invalid_target"},
			{"two that differ", agent, []string{"resource", mine, "audience", "https://payroll.example.com"}, "invalid_request"},
		} {
			form := append([]string{"grant_type", "client_credentials", "client_id", c.who.id, "client_secret", c.who.secret}, c.form...)
			a := w.post("/oauth2/token", form...)
			if a.StatusCode != http.StatusOK {
				if a.StatusCode != http.StatusBadRequest || a.str("error") != c.want {
					t.Errorf("%s: %d %s, want %s", c.name, a.StatusCode, a.text, c.want)
				}
				continue
			}
			if _, claims := opened(t, a.str("access_token")); claims["aud"] != c.want {
				t.Errorf("%s: aud %v, want %s", c.name, claims["aud"], c.want)
			}
		}
	})
}
