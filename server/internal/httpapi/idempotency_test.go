package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/limit"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// repeated is how an operation that takes a key is called: twice as it is, and
// once in another way.
type repeated struct{ path, body, otherPath, otherBody string }

// Every operation that takes an Idempotency-Key keeps to what that promises. What
// no case knows how to call is listed, and the list must be empty.
func TestEveryOperationThatTakesAKeyAnswersARepetitionAsBefore(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		w := newWorldWith(t, url, rates{limit.MaxPerMinute, limit.MaxPerMinute, limit.MaxPerMinute})
		_, role := w.invoices()
		here, other := "/v1/service-accounts/"+w.account("here", role).id, "/v1/service-accounts/"+w.account("other").id
		account := strings.TrimPrefix(here, "/v1/service-accounts/")
		key, another := w.apiKey(account, `{"name":"k"}`).str("id"), w.apiKey(account, `{"name":"l"}`).str("id")
		cases := map[string]repeated{
			"service_accounts.create":        {"/v1/service-accounts", `{"name":"one","owner":"o","labels":{"a":"1","b":"2"}}`, "", `{"name":"two","owner":"o"}`},
			"resource_servers.create":        {"/v1/resource-servers", `{"identifier":"https://one.example.com","name":"one"}`, "", `{"identifier":"https://two.example.com","name":"two"}`},
			"roles.create":                   {"/v1/roles", `{"name":"one","description":"d"}`, "", `{"name":"one"}`},
			"client_secrets.create":          {here + "/client-secrets", "", other + "/client-secrets", `{"expires_at":"2046-01-01T00:00:00Z"}`},
			"client_secrets.rotate":          {here + "/client-secrets/rotate", `{"overlap":60}`, other + "/client-secrets/rotate", `{"overlap":61}`},
			"api_keys.create":                {here + "/api-keys", `{"name":"one"}`, other + "/api-keys", `{"name":"two"}`},
			"api_keys.rotate":                {here + "/api-keys/" + key + "/rotate", `{"overlap":60}`, here + "/api-keys/" + another + "/rotate", `{"overlap":61}`},
			"service_accounts.revoke_tokens": {here + "/revocations", "", other + "/revocations", ""},
		}
		var uncovered []string
		eachOperation(t, func(_, _ string, op *openapi3.Operation) {
			if op.Parameters.GetByInAndName(openapi3.ParameterInHeader, idempotencyKey) == nil {
				return
			}
			c, known := cases[op.OperationID]
			if !known {
				uncovered = append(uncovered, op.OperationID)
				return
			}
			c.holds(t, w, op.OperationID)
		})
		if len(uncovered) > 0 {
			slices.Sort(uncovered)
			t.Errorf("uncovered: %v", uncovered)
		}
	})
}

func (c repeated) holds(t *testing.T, w *world, id string) {
	t.Helper()
	first := w.as(http.MethodPost, c.path, c.body, idempotencyKey, "k")
	if first.StatusCode > 201 {
		t.Fatalf("%s: %d %s", id, first.StatusCode, first.text)
	}
	second := w.as(http.MethodPost, c.path, c.body, idempotencyKey, "k")
	if secret := first.str("client_secret") + first.str("api_key"); secret != "" {
		second.is(t, http.StatusConflict)
		if second.str("code") != "secret_already_issued" || second.str("id") != first.str("id") || strings.Contains(second.text, secret) {
			t.Errorf("%s again: %s, after %s", id, second.text, first.str("id"))
		}
	} else if second.StatusCode != first.StatusCode || second.text != first.text ||
		second.Header.Get("ETag") != first.Header.Get("ETag") || second.Header.Get("Location") != first.Header.Get("Location") {
		t.Errorf("%s:\n%s %v\nagain:\n%s %v", id, first.text, first.Header, second.text, second.Header)
	}
	for _, other := range []struct{ path, body string }{{c.otherPath, c.body}, {c.path, c.otherBody}} {
		if other.path == "" || other.path == c.path && other.body == c.body {
			continue
		}
		if a := w.as(http.MethodPost, other.path, other.body, idempotencyKey, "k").is(t, http.StatusUnprocessableEntity); a.str("code") != "idempotency_key_reused" {
			t.Errorf("%s otherwise: %s", id, a.text)
		}
	}
}

func TestARequestIsTheSameHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.as(http.MethodPost, "/v1/service-accounts", `{"name":"one","owner":"o","labels":{"a":"1","b":"2"}}`, idempotencyKey, "k").is(t, 201)
	otherToken := w.token(w.admin, "resource", identity.ManagementIdentifier)
	again := w.send(otherToken, http.MethodPost, "/v1/service-accounts", "{\n \"labels\": {\"b\": \"\\u0032\", \"a\": \"1\"},\n \"owner\": \"o\", \"name\": \"one\"}", idempotencyKey, "k").is(t, 201)
	if again.text != first.text {
		t.Errorf("%s\nagain: %s", first.text, again.text)
	}
	secrets := first.Header.Get("Location") + "/client-secrets"
	w.as(http.MethodPost, secrets, "", idempotencyKey, "k").is(t, 201)
	w.as(http.MethodPost, secrets, "{}", idempotencyKey, "k").is(t, 409) // no body asks for the same as an empty one
}

func TestAKeyIsVisibleASCIIAndStandsThereOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const body = `{"name":"one","owner":"o"}`
	for name, keys := range map[string][]string{
		"too long":      {strings.Repeat("k", 256)},
		"empty":         {""},
		"a space":       {"a b"},
		"a tab":         {"a\tb"},
		"no ASCII":      {"schlüssel"},
		"DEL":           {"a\x7fb"},
		"twice":         {"a", "a"},
		"two, one good": {"a", ""},
	} {
		var header []string
		for _, key := range keys {
			header = append(header, idempotencyKey, key)
		}
		a := w.as(http.MethodPost, "/v1/service-accounts", body, header...)
		if a.StatusCode != http.StatusBadRequest || a.str("code") != "invalid_request" || !strings.Contains(a.text, `"pointer":"Idempotency-Key"`) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.text)
		}
	}
	longest := strings.Repeat("~", 254) + "!"
	for range 2 {
		w.as(http.MethodPost, "/v1/service-accounts", body, idempotencyKey, longest).is(t, 201)
	}
}

func TestWhoHasLostTheRightGetsNoOldAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	operator := w.account("operator", identity.RoleAdminID)
	bearer := w.token(operator, "resource", identity.ManagementIdentifier)
	create := func() answer {
		return w.send(bearer, http.MethodPost, "/v1/service-accounts", `{"name":"one","owner":"o"}`, idempotencyKey, "k")
	}
	create().is(t, 201)
	create().is(t, 201)
	w.as(http.MethodDelete, "/v1/service-accounts/"+operator.id+"/roles/"+identity.RoleAdminID, "").is(t, 204)
	if a := create().is(t, 403); a.str("code") != "insufficient_scope" {
		t.Error(a.text)
	}
}

func TestWhileTheFirstIsRunningTheSecondIsTurnedAway(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		held, goOn := make(chan struct{}), make(chan struct{})
		var hold atomic.Bool
		w := newWorldOn(t, store.Options{URL: url, Commit: func(commit func() error) error {
			if hold.CompareAndSwap(true, false) {
				close(held)
				<-goOn
			}
			return commit()
		}}, rates{limit.MaxPerMinute, limit.MaxPerMinute, limit.MaxPerMinute})
		hold.Store(true)
		create := func() answer {
			return w.as(http.MethodPost, "/v1/roles", `{"name":"one"}`, idempotencyKey, "k")
		}
		first := make(chan answer)
		go func() { first <- create() }()
		<-held
		second := create()
		close(goOn)
		made := <-first
		if second.StatusCode != http.StatusConflict || second.str("code") != "idempotency_key_in_progress" || second.Header.Get("Retry-After") != "1" {
			t.Errorf("%d %v %s", second.StatusCode, second.Header, second.text)
		}
		if third := create(); made.StatusCode != 201 || third.StatusCode != 201 || third.text != made.text {
			t.Errorf("%d %s, then %d %s", made.StatusCode, made.text, third.StatusCode, third.text)
		}
	})
}
