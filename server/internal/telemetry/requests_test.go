package telemetry_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/marque-id/marque/server/internal/telemetry"
)

func answered(status int) *telemetry.Request {
	r := &telemetry.Request{
		Operation: "tokens.issue", Status: status, At: time.Date(2026, 11, 23, 12, 0, 0, 1_000_000, time.UTC), Took: 1234567 * time.Nanosecond,
		RequestID: "req_01jzt3v0q8n4m6x2c9k7b5h1d0", ClientID: "sa_01jzt3v0q8n4m6x2c9k7b5h1d0",
		Address: netip.MustParseAddr("fe80::1%\"x"), TraceID: trace,
	}
	if status >= 400 {
		r.Code = "invalid_client"
	}
	return r
}

// lines are what a request log writes about one request of each kind.
func lines(level slog.Level, format, which string) []string {
	var b bytes.Buffer
	out := telemetry.NewOutput(&b)
	o := telemetry.Requests{Log: telemetry.NewRequestLog(out, level, format, which)}
	for _, status := range []int{200, 401, 503} {
		o.Done(answered(status))
	}
	_ = out.Close()
	return strings.SplitAfter(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestARequestIsOneLine(t *testing.T) {
	t.Parallel()
	all := lines(slog.LevelInfo, "json", "all")
	if len(all) != 3 {
		t.Fatalf("%q", all)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(all[1]), &got); err != nil {
		t.Fatalf("%v in %s", err, all[1])
	}
	want := map[string]any{
		"time": "2026-11-23T12:00:00.001Z", "level": "INFO", "msg": "request", "operation": "tokens.issue", "status": 401.0,
		"code": "invalid_client", "duration_ms": 1.234, "request_id": "req_01jzt3v0q8n4m6x2c9k7b5h1d0",
		"client_id": "sa_01jzt3v0q8n4m6x2c9k7b5h1d0", "address": "fe80::1", "trace_id": trace,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	text := lines(slog.LevelInfo, "text", "all")
	const wantText = "time=12:00:00.001 level=INFO msg=request operation=tokens.issue status=200 duration_ms=1.234 " +
		"request_id=req_01jzt3v0q8n4m6x2c9k7b5h1d0 client_id=sa_01jzt3v0q8n4m6x2c9k7b5h1d0 address=fe80::1 trace_id=" + trace + "\n"
	if text[0] != wantText {
		t.Errorf("got  %s\nwant %s", text[0], wantText)
	}
}

func TestWhichRequestsGetALine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		level slog.Level
		which string
		want  string // statuses
	}{
		{slog.LevelDebug, "all", "200 401 503"},
		{slog.LevelInfo, "errors", "401 503"},
		{slog.LevelInfo, "none", ""},
		{slog.LevelWarn, "all", "503"},
		{slog.LevelError, "all", ""},
	} {
		var got []string
		for _, line := range lines(tc.level, "json", tc.which) {
			var r struct{ Status int }
			if json.Unmarshal([]byte(line), &r) == nil {
				got = append(got, fmt.Sprint(r.Status))
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s, %s: %v, want %s", tc.level, tc.which, got, tc.want)
		}
	}
}

func TestMetricsOfRequests(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("v1.2.3")
	o := telemetry.Requests{Metrics: m}
	for _, status := range []int{200, 200, 401, 999} {
		o.Done(answered(status))
	}
	unmatched := answered(404)
	unmatched.Operation, unmatched.Code = "", "not_found"
	o.Done(unmatched)
	o.Panicked()
	m.Issued("client_credentials")
	m.Refused("wrong_secret")
	m.Committed(7, 2*time.Millisecond, nil)
	m.Committed(1, time.Second, io.EOF)
	want := `
# HELP marque_requests_total Answered requests, by operation of the contract and status.
# TYPE marque_requests_total counter
marque_requests_total{operation="tokens.issue",status="200"} 2
marque_requests_total{operation="tokens.issue",status="401"} 1
marque_requests_total{operation="tokens.issue",status="599"} 1
marque_requests_total{operation="unmatched",status="404"} 1
# HELP marque_refusals_total Requests answered with an error, by its code.
# TYPE marque_refusals_total counter
marque_refusals_total{code="invalid_client"} 2
marque_refusals_total{code="not_found"} 1
# HELP marque_sign_in_refusals_total Refused token requests and client authentications, by the reason that the audit log has.
# TYPE marque_sign_in_refusals_total counter
marque_sign_in_refusals_total{reason="wrong_secret"} 1
# HELP marque_tokens_issued_total Issued tokens, by grant.
# TYPE marque_tokens_issued_total counter
marque_tokens_issued_total{grant="client_credentials"} 1
# HELP marque_panics_total Requests that were answered 500 because a handler panicked.
# TYPE marque_panics_total counter
marque_panics_total 1
# HELP marque_audit_commit_failures_total Commits of decisions that failed; nobody in them got a token.
# TYPE marque_audit_commit_failures_total counter
marque_audit_commit_failures_total 1
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "marque_requests_total", "marque_refusals_total",
		"marque_sign_in_refusals_total", "marque_tokens_issued_total", "marque_panics_total", "marque_audit_commit_failures_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(m.Gatherer()); err != nil || len(problems) != 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// Should text of a caller ever reach a label, it cannot fill the memory.
func TestLabelsAreBounded(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("v1.2.3")
	for n := range 1000 {
		m.Refused(fmt.Sprint(n))
	}
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "marque_sign_in_refusals_total" {
			continue
		}
		sum := 0.0
		for _, metric := range f.Metric {
			sum += metric.Counter.GetValue()
		}
		if len(f.Metric) > 65 || sum != 1000 {
			t.Errorf("%d series that count %v", len(f.Metric), sum)
		}
	}
}

func TestNothingIsObservedWithoutAnObserver(t *testing.T) {
	t.Parallel()
	var nobody *telemetry.Requests
	nobody.Done(answered(200))
	nobody.Panicked()
	var m *telemetry.Metrics
	m.Issued("x")
	m.Refused("x")
	m.Committed(1, 0, nil)
}

// BenchmarkDone is what a request pays for being observed.
func BenchmarkDone(b *testing.B) {
	out := telemetry.NewOutput(io.Discard)
	defer func() { _ = out.Close() }()
	o := telemetry.Requests{Metrics: telemetry.NewMetrics("x"), Log: telemetry.NewRequestLog(out, slog.LevelInfo, "json", "all")}
	r := answered(200)
	b.ReportAllocs()
	for b.Loop() {
		o.Done(r)
	}
}
