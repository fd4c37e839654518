package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gofiber/fiber/v2"
	"github.com/jonboulle/clockwork"
)

func TestARouteWithoutAnOperationRefusesToStart(t *testing.T) {
	t.Parallel()
	c, err := loadContract("")
	if err != nil {
		t.Fatal(err)
	}
	app := edge(t, testIssuer)
	if err := c.checkRoutes(app.GetRoutes(true)); err != nil {
		t.Fatal(err)
	}
	app.Get("/v1/back-door", func(*fiber.Ctx) error { return nil })
	if err := c.checkRoutes(app.GetRoutes(true)); err == nil || !strings.Contains(err.Error(), "/v1/back-door") {
		t.Errorf("a route that no operation has: %v", err)
	}
	if err := c.checkRoutes(nil); err == nil {
		t.Error("operations without routes were taken")
	}
}

func TestOperationsAreFoundByTheMatchedRoute(t *testing.T) {
	t.Parallel()
	c, err := loadContract("/one")
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[route]string{
		{"GET", "/one/v1/service-accounts/:service_account_id"}:                                     "service_accounts.get",
		{"HEAD", "/one/v1/service-accounts/:service_account_id"}:                                    "service_accounts.get",
		{"DELETE", "/one/v1/service-accounts/:service_account_id/client-secrets/:client_secret_id"}: "client_secrets.delete",
		{"POST", "/one/oauth2/token"}:                                                               "tokens.issue",
	} {
		if e := c.endpoints[at]; e == nil || e.ID != want {
			t.Errorf("%v: %+v, want %s", at, e, want)
		}
	}
}

// Fiber cancels nothing by itself: a database that has gone silent would hold a
// request, and its client, for good.
func TestARequestEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	app, err := newApp(Deps{Issuer: testIssuer, Keys: someKeys(t), Clock: clockwork.NewFakeClockAt(testTime), RequestTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	app.Get("/silent", func(c *fiber.Ctx) error {
		<-c.UserContext().Done()
		return c.UserContext().Err()
	})
	resp, body := ask(t, app, http.MethodGet, "/silent", "")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") != "1" || !strings.Contains(body, `"code":"unavailable"`) {
		t.Errorf("%d %s, Retry-After %q", resp.StatusCode, body, resp.Header.Get("Retry-After"))
	}
}

func TestRetryAfterIsNeverTooEarly(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		time.Millisecond: "1", time.Second: "1", time.Second + 1: "2", 90 * time.Second: "90",
	} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestDescriptionsFitTheHeader(t *testing.T) {
	t.Parallel()
	if got := asDescription("a \"b\" c\\d\r\né"); got != "a 'b' c/d???" {
		t.Errorf("%q", got)
	}
}

// documented holds an answer against the contract: its status, its type, its
// body. Every answer of the tests with a whole server passes through it.
func documented(t testing.TB, method, path string, resp *http.Response, body string) {
	t.Helper()
	op := operationAt(t, method, path)
	if op == nil {
		return // a path or method that the contract does not have
	}
	response := op.Responses.Status(resp.StatusCode)
	if response == nil {
		response = op.Responses.Default()
	}
	if len(response.Value.Content) == 0 {
		if body != "" {
			t.Errorf("%s: %d has a body that is not documented: %s", op.OperationID, resp.StatusCode, body)
		}
		return
	}
	content := response.Value.Content[resp.Header.Get("Content-Type")]
	if content == nil {
		t.Errorf("%s: %d is of the type %q, which is not documented", op.OperationID, resp.StatusCode, resp.Header.Get("Content-Type"))
		return
	}
	if resp.Header.Get("Content-Type") == "text/event-stream" {
		documentedEvents(t, op.OperationID, content.Schema.Value, body)
		return
	}
	var got any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Errorf("%s: %v", op.OperationID, err)
		return
	}
	if err := content.Schema.Value.VisitJSON(got, openapi3.VisitAsResponse(), openapi3.EnableFormatValidation()); err != nil {
		t.Errorf("%s: %d: %v", op.OperationID, resp.StatusCode, err)
	}
	for name, h := range response.Value.Headers {
		if h.Value.Required && resp.Header.Get(name) == "" {
			t.Errorf("%s: %d lacks the header %s", op.OperationID, resp.StatusCode, name)
		}
	}
}

// operationAt finds the operation of a path as it was sent.
func operationAt(t testing.TB, method, path string) *openapi3.Operation {
	t.Helper()
	for template, item := range spec(t).Paths.Map() {
		if op := item.GetOperation(method); op != nil && matches(template, path) {
			return op
		}
	}
	return nil
}

// matches reports whether a path fits a template of the contract.
func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	for i := range want {
		if len(want) != len(got) || want[i] != got[i] && !strings.HasPrefix(want[i], "{") {
			return false
		}
	}
	return true
}
