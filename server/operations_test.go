package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// operations is the URL of the listener for operators, which the server logs.
func (s *server) operations(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`msg"?[:=]"?operations"?[ ,]"?address"?[:=]"?([0-9.:]+)`).FindStringSubmatch(s.stderr.String())
	if found == nil {
		t.Fatalf("the server does not say where operators ask:\n%s", s.stderr.String())
	}
	_, port, _ := net.SplitHostPort(found[1])
	return "https://localhost:" + port
}

// get reads a page.
func get(t *testing.T, client *http.Client, url string) (int, string) {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, read(t, response, nil)
}

// eventually asks again until the answer is as wanted.
func eventually(t *testing.T, what string, well func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !well() {
		select {
		case <-deadline:
			t.Fatalf("it never came to this: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestOperatorsSeeHowItIs(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())
	client := s.client(t)
	s.adminToken(t, client)
	operations := s.operations(t)

	if status, body := get(t, client, operations+"/healthz"); status != http.StatusOK {
		t.Errorf("healthz: %d %s", status, body)
	}
	status, body := get(t, client, operations+"/readyz")
	for _, check := range []string{"database", "changes", "keys", "certificate"} {
		if status != http.StatusOK || !strings.Contains(body, `"`+check+`": "ok"`) {
			t.Errorf("readyz: %d %s", status, body)
		}
	}
	if status, _ := get(t, client, operations+"/debug/pprof/"); status != http.StatusNotFound {
		t.Errorf("profiles were not asked for: %d", status)
	}
	_, metrics := get(t, client, operations+"/metrics")
	for _, want := range []string{
		`marque_requests_total{operation="tokens.issue",status="200"} 1`,
		`marque_tokens_issued_total{grant="client_credentials"} 1`,
		`marque_request_duration_seconds_bucket{operation="tokens.issue",le="+Inf"} 1`,
		"marque_audit_batch_events_count 1", "marque_audit_commit_duration_seconds_sum", "marque_certificate_expiry_timestamp_seconds 1.",
		"marque_cache_accounts 1", "marque_cache_tokens_bytes", "marque_revocations 0", "marque_build_info{",
		"go_goroutines", "process_resident_memory_bytes", "marque_log_lines_dropped_total 0",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	for _, id := range []string{s.profile.ClientID, s.adminSecret(t), "req_", "sa_", "127.0.0.1"} {
		if strings.Contains(metrics, id) {
			t.Errorf("the metrics contain %s", id)
		}
	}
	if t.Failed() {
		t.Log(metrics)
	}

	// What the main listener serves is not served here, nor the other way round.
	if status, _ := get(t, client, operations+"/.well-known/jwks.json"); status != http.StatusNotFound {
		t.Errorf("keys on the operations listener: %d", status)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/debug/pprof/"} {
		if status, _ := get(t, client, s.profile.Issuer+path); status != http.StatusNotFound {
			t.Errorf("%s on the main listener: %d", path, status)
		}
	}
}

func TestOperatorsAreAnsweredOverTLSOnly(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir())
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.operations(t), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); strings.Contains(string(answer), "200") || strings.Contains(string(answer), "status") {
		t.Errorf("the answer was %q", answer)
	}
}

// TestATakenAddressOfOperators: a production server refuses, a development
// server says so and serves without.
func TestATakenAddressOfOperators(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	env := []string{"MARQUE_OPERATIONS_LISTEN=" + taken.Addr().String()}

	dev := start(t, env, "serve", "--dev", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0")
	if said := dev.stderr.String(); !strings.Contains(said, "operations.listen sets it") {
		t.Errorf("it says nothing of the address:\n%s", said)
	}
	i := install(t)
	i.succeeds(t, "master-key", "generate")
	code, _, stderr := run(t, env, "serve", "--config", i.file)
	if code != 1 || !strings.Contains(stderr, "operations.listen: listen tcp") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

func TestProfilesWhereTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, []string{"MARQUE_OPERATIONS_PPROF=true", "MARQUE_LOG_FORMAT=json"}, "serve", "--dev", "--data-dir", dir, "--listen", "127.0.0.1:0")
	s.profile.CAFile = dir + "/ca.pem"
	if status, body := get(t, s.client(t), s.operations(t)+"/debug/pprof/goroutine?debug=1"); status != http.StatusOK || !strings.Contains(body, "goroutine profile") {
		t.Errorf("%d %s", status, body)
	}
}

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestEachRequestIsOneLine, and the trace that it belongs to is on it and in
// the audit record; nothing secret is.
func TestEachRequestIsOneLine(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir(), "MARQUE_LOG_FORMAT=json")
	client := s.client(t)
	secret := s.adminSecret(t)
	token := s.adminToken(t, client)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {s.profile.ClientID}, "client_secret": {secret}, "scope": {"nothing:here"}}
	request, err := http.NewRequest(http.MethodPost, s.profile.Issuer+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Traceparent", traceparent)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	read(t, response, nil)
	if status := s.call(t, client, token, http.MethodGet, "/v1/nothing/here?api_key=hunter2", "", nil); status != http.StatusNotFound {
		t.Errorf("%d", status)
	}
	var events struct {
		Items []struct {
			RequestID string `json:"request_id"`
			TraceID   string `json:"trace_id"`
		}
	}
	s.call(t, client, token, http.MethodGet, "/v1/audit-events", "", &events)
	s.stop(t)

	type line struct {
		Msg, Operation, Address, Code string
		Status                        int
		ClientID                      string   `json:"client_id"`
		RequestID                     string   `json:"request_id"`
		TraceID                       string   `json:"trace_id"`
		Duration                      *float64 `json:"duration_ms"`
	}
	var lines []line
	for text := range strings.Lines(s.stderr.String()) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Errorf("%v in %s", err, text)
		}
		if l.Msg == "request" {
			lines = append(lines, l)
		}
		if strings.Contains(text, secret) || strings.Contains(text, token) || strings.Contains(text, "hunter2") {
			t.Errorf("a secret is in the log: %s", text)
		}
	}
	want := []line{
		{Operation: "tokens.issue", Status: 200, ClientID: s.profile.ClientID},
		{Operation: "tokens.issue", Status: 400, ClientID: s.profile.ClientID, Code: "invalid_scope", TraceID: traceparent[3:35]},
		{Operation: "unmatched", Status: 404, Code: "not_found"},
		{Operation: "audit_events.list", Status: 200, ClientID: s.profile.ClientID},
	}
	if len(lines) != len(want) {
		t.Fatalf("%d lines for %d requests:\n%s", len(lines), len(want), s.stderr.String())
	}
	for n, w := range want {
		got := lines[n]
		if got.Operation != w.Operation || got.Status != w.Status || got.ClientID != w.ClientID || got.Code != w.Code || got.TraceID != w.TraceID ||
			got.Address != "127.0.0.1" || !strings.HasPrefix(got.RequestID, "req_") || got.Duration == nil {
			t.Errorf("line %d is %+v", n, got)
		}
	}
	if got := response.Header.Get("X-Request-Id"); got != lines[1].RequestID {
		t.Errorf("the answer says %s", got)
	}
	for _, e := range events.Items {
		if e.RequestID == lines[1].RequestID && e.TraceID == traceparent[3:35] {
			return
		}
	}
	t.Errorf("the trace is not in the audit record: %+v", events.Items)
}

// TestReadinessSaysNoBeforeTheDoorCloses: for shutdown_delay after SIGTERM new
// connections are served while readiness says no already.
func TestReadinessSaysNoBeforeTheDoorCloses(t *testing.T) {
	t.Parallel()
	s := startDev(t, t.TempDir(), "MARQUE_SHUTDOWN_DELAY=2s")
	client, operations := s.client(t), s.operations(t)
	s.signal(t, syscall.SIGTERM)
	eventually(t, "readiness says no", func() bool {
		status, body := get(t, client, operations+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, "stopping")
	})
	if status, _ := get(t, s.client(t), s.profile.Issuer+"/.well-known/jwks.json"); status != http.StatusOK {
		t.Errorf("a new client: %d", status)
	}
	if status, _ := get(t, client, operations+"/healthz"); status != http.StatusOK {
		t.Errorf("alive? %d", status)
	}
	if code := s.wait(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.stderr.String())
	}
}
