package httpapi

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/jonboulle/clockwork"

	"github.com/marque-id/marque/server/internal/telemetry"
)

var update = flag.Bool("update", false, "write golden files anew")

var (
	anyRequestID = regexp.MustCompile(`req_[0-7][0-9a-hjkmnp-tv-z]{25}`)
	anyDate      = regexp.MustCompile(`(?m)^Date: .*$`)
	anyStanding  = regexp.MustCompile(`;r=\d+;t=\d+`)
)

// golden writes an answer as text and compares it with the file.
func golden(t *testing.T, name string, resp *http.Response, body string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", resp.Status)
	for _, h := range slices.Sorted(maps.Keys(resp.Header)) {
		fmt.Fprintf(&b, "%s: %s\n", h, strings.Join(resp.Header[h], ", "))
	}
	fmt.Fprintf(&b, "\n%s\n", body)
	got := anyRequestID.ReplaceAllString(b.String(), "req_…")
	got = anyDate.ReplaceAllString(got, "Date: …")
	got = anyStanding.ReplaceAllString(got, ";r=…;t=…")

	file := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// What Fiber and fasthttp refuse by themselves is rendered like everything else.
func TestRefusalsOfTheFrameworkAreOurs(t *testing.T) {
	t.Parallel()
	address, roots := listen(t, edge(t, testIssuer))
	const host = " HTTP/1.1\r\nHost: marque.example.com\r\n"
	body := func(n int) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, strings.Repeat("x", n)) }
	cases := []struct{ name, raw string }{
		{"404", "GET /nowhere" + host + "\r\n"},
		{"404-oauth", "POST /oauth2/nowhere" + host + "\r\n"},
		{"405", "PUT /v1/roles" + host + "\r\n"},
		{"405-oauth", "GET /oauth2/token" + host + "\r\n"},
		{"405-unknown-method", "BREW /v1/roles" + host + "\r\n"},
		{"400-chunks", "POST /v1/roles" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"},
		{"413", "POST /v1/roles" + host + body(maxBody+1)},
		{"413-oauth", "POST /oauth2/token" + host + body(maxBody+1)},
		{"431", "GET /v1/roles" + host + "X: " + strings.Repeat("x", maxHeader) + "\r\n\r\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			resp, got := wire(t, address, roots, c.raw)
			golden(t, c.name, resp, got)
		})
	}
}

func TestAPathHasOneSpelling(t *testing.T) {
	t.Parallel()
	address, roots := listen(t, edge(t, testIssuer))
	const id = "sa_01jzt3v0q8n4m6x2c9k7b5h1d0"
	for _, path := range []string{
		"/V1/service-accounts/" + id,
		"/v1/service-accounts/" + id + "/",
		"/v1//service-accounts/" + id,
		"//v1/service-accounts/" + id,
		"/v1/./service-accounts/" + id,
		"/v1/roles/../service-accounts/" + id,
		"/v1/%73ervice-accounts/" + id,
		"/v1/service-accounts%2F" + id,
		"/v1/service-accounts/" + id + "%2Froles",
		"/v1/service-accounts/" + id + "%00",
		"/.well-known/jwks.json/",
		"/.WELL-KNOWN/jwks.json",
		"/openapi.json%3F",
	} {
		resp, body := wire(t, address, roots, "GET "+path+" HTTP/1.1\r\nHost: marque.example.com\r\n\r\n")
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestDiscoveryIsOpenToAnyOriginAndNothingElseIs(t *testing.T) {
	t.Parallel()
	app := edge(t, testIssuer)
	open := []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/openapi.json"}
	for _, path := range open {
		resp, _ := ask(t, app, http.MethodGet, path, "", "Origin", "https://console.example.com")
		if resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", path, resp.Header)
		}
	}
	for _, path := range append(open, "/.well-known/jwks.json") {
		resp, _ := ask(t, app, http.MethodOptions, path, "", "Origin", "https://console.example.com",
			"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "if-none-match")
		h := resp.Header
		if resp.StatusCode != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != "*" ||
			h.Get("Access-Control-Allow-Methods") != "GET, HEAD" || h.Get("Access-Control-Allow-Headers") != "*" {
			t.Errorf("preflight of %s: %d %v", path, resp.StatusCode, h)
		}
	}
	for _, path := range []string{"/v1/roles", "/v1/whoami", "/oauth2/token", "/oauth2/introspect", "/nowhere"} {
		for _, method := range []string{http.MethodOptions, http.MethodGet, http.MethodPost} {
			resp, _ := ask(t, app, method, path, "", "Origin", "https://console.example.com")
			if resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s is open to any origin", method, path)
			}
		}
	}
}

func TestEveryAnswerCarriesItsIdAndNoServerName(t *testing.T) {
	t.Parallel()
	app := edge(t, testIssuer)
	seen := make(map[string]bool)
	for _, path := range []string{"/openapi.json", "/nowhere", "/v1/roles", "/oauth2/token"} {
		resp, body := ask(t, app, http.MethodGet, path, "", "X-Request-Id", "mine", "X-Request-ID", "mine too")
		id := resp.Header.Get("X-Request-Id")
		if !anyRequestID.MatchString(id) || seen[id] || len(resp.Header["X-Request-Id"]) != 1 {
			t.Errorf("%s: X-Request-Id %v", path, resp.Header["X-Request-Id"])
		}
		seen[id] = true
		if resp.StatusCode >= 400 && strings.Contains(body, `"request_id"`) && !strings.Contains(body, id) {
			t.Errorf("%s: the body has another id than the header", path)
		}
		h := resp.Header
		if h.Get("Server") != "" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Strict-Transport-Security") == "" {
			t.Errorf("%s: %v", path, h)
		}
		if path != "/openapi.json" && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached: %s", path, h.Get("Cache-Control"))
		}
	}
}

func TestAnEncodedBodyIsRefused(t *testing.T) {
	t.Parallel()
	app := edge(t, testIssuer)
	for path, want := range map[string]int{"/v1/roles": http.StatusUnsupportedMediaType, "/oauth2/token": http.StatusBadRequest} {
		resp, body := ask(t, app, http.MethodPost, path, "\x1f\x8b", "Content-Encoding", "gzip")
		if resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestAPanicIsAnInternalErrorAndTheServerGoesOn(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	out := telemetry.NewOutput(&log)
	metrics := telemetry.NewMetrics("test")
	app, err := newApp(Deps{
		Keys:   someKeys(t),
		Issuer: testIssuer, Clock: clockwork.NewFakeClockAt(testTime), Log: telemetry.Logger(out, slog.LevelInfo, "json"),
		Requests: &telemetry.Requests{Metrics: metrics, Log: telemetry.NewRequestLog(out, slog.LevelInfo, "json", "all")},
	})
	if err != nil {
		t.Fatal(err)
	}
	app.Get("/panic", func(*fiber.Ctx) error { panic("the inside of things") })
	for range 2 {
		resp, body := ask(t, app, http.MethodGet, "/panic", "")
		if resp.StatusCode != http.StatusInternalServerError || strings.Contains(body, "inside") ||
			!strings.Contains(body, `"code":"internal"`) {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	families, err := metrics.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "marque_panics_total" && f.Metric[0].Counter.GetValue() != 2 {
			t.Errorf("counted: %v", f.Metric)
		}
	}
	if text := log.String(); strings.Count(text, `"level":"ERROR"`) != 2 || !strings.Contains(text, "the inside of things") ||
		!strings.Contains(text, "edge_test.go") || strings.Count(text, `"operation":"unmatched","status":500,"code":"internal"`) != 2 {
		t.Errorf("logged:\n%s", text)
	}
}

// What fasthttp refuses before any handler is observed as well, and once.
func TestEveryAnswerIsObservedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	out := telemetry.NewOutput(&log)
	app, err := newApp(Deps{
		Keys:   someKeys(t),
		Issuer: testIssuer, Clock: clockwork.NewFakeClockAt(testTime),
		Requests: &telemetry.Requests{Log: telemetry.NewRequestLog(out, slog.LevelInfo, "json", "all")},
	})
	if err != nil {
		t.Fatal(err)
	}
	address, roots := listen(t, app)
	const host = " HTTP/1.1\r\nHost: marque.example.com\r\n"
	for _, raw := range []string{
		"GET /openapi.json" + host + "\r\n",
		"GET /nowhere" + host + "\r\n",
		"BREW /v1/roles" + host + "\r\n",
		"GET /v1/roles" + host + "X: " + strings.Repeat("x", maxHeader) + "\r\n\r\n",
		"POST /v1/roles" + host + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"GET /v1/roles" + host + "\r\n",
	} {
		wire(t, address, roots, raw)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, found := range regexp.MustCompile(`"operation":"([a-z._]+)","status":(\d+)`).FindAllStringSubmatch(log.String(), -1) {
		got = append(got, found[1]+" "+found[2])
	}
	want := []string{"contract.get 200", "unmatched 404", "unmatched 405", "unmatched 431", "unmatched 400", "roles.list 401"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q:\n%s", got, want, log.String())
	}
}

// Fiber's strings point into the request's buffer unless it is told not to.
func TestWhatIsKeptPastAHandlerDoesNotChange(t *testing.T) {
	t.Parallel()
	app := edge(t, testIssuer)
	var mu sync.Mutex
	var kept []string
	app.Get("/keep/:id", func(c *fiber.Ctx) error {
		mu.Lock()
		defer mu.Unlock()
		kept = append(kept, c.Params("id"), c.Query("q"), c.Get("X-Kept"))
		return nil
	})
	address, roots := listen(t, app)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig(roots), MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	var sent []string
	for i := range 200 {
		id := fmt.Sprintf("%06d", i*7919)
		req, err := http.NewRequest(http.MethodGet, "https://"+address+"/keep/"+id+"?q=q"+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Kept", "h"+id)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		sent = append(sent, id, "q"+id, "h"+id)
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(sent, kept) {
		t.Error("values kept by a handler have changed under it")
	}
}
