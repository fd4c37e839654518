package operations_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/marque-id/marque/server/internal/operations"
)

// serve starts a listener, without the TLS that its caller brings, and returns
// its URL.
func serve(t *testing.T, readiness *operations.Readiness, profiling bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "marque_test"}, func() float64 { return 7 }))
	s := operations.Serve(l, operations.Config{
		Readiness: readiness, Metrics: registry, Profiling: profiling, Log: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestReadinessSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	var r operations.Readiness
	url := serve(t, &r, false)
	var database error
	expect := func(when string, wantStatus int, want string, wantDatabase string) {
		t.Helper()
		status, body := get(t, url+"/readyz")
		var told struct {
			Status string
			Checks map[string]string
		}
		if err := json.Unmarshal([]byte(body), &told); err != nil {
			t.Fatal(err)
		}
		if status != wantStatus || told.Status != want || told.Checks["database"] != wantDatabase {
			t.Errorf("%s: %d %s", when, status, body)
		}
		if status, body := get(t, url+"/healthz"); status != http.StatusOK {
			t.Errorf("%s: alive? %d %s", when, status, body)
		}
	}
	expect("before it serves", http.StatusServiceUnavailable, "starting", "")
	r.Serving([]operations.Check{
		{Name: "database", Run: func(context.Context) error { return database }},
		{Name: "keys", Run: func(context.Context) error { return nil }},
	})
	expect("when all is well", http.StatusOK, "ok", "ok")
	database = errors.New("connection refused")
	expect("when the database is away", http.StatusServiceUnavailable, "failing", "connection refused")
	database = nil
	expect("when it is back", http.StatusOK, "ok", "ok")
	r.Stopping()
	expect("at the end", http.StatusServiceUnavailable, "stopping", "")
	r.Serving(nil)
	expect("at the end, whatever comes", http.StatusServiceUnavailable, "stopping", "")
}

func TestACheckThatHangsHasFailed(t *testing.T) {
	t.Parallel()
	var r operations.Readiness
	url := serve(t, &r, false)
	forever := make(chan struct{})
	defer close(forever)
	r.Serving([]operations.Check{{Name: "database", Run: func(context.Context) error { <-forever; return nil }}})
	if status, body := get(t, url+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "no answer within a second") {
		t.Errorf("%d %s", status, body)
	}
}

func TestWhatIsServedAndWhatIsNot(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		path      string
		profiling bool
		want      int
	}{
		{"/metrics", false, http.StatusOK},
		{"/healthz", false, http.StatusOK},
		{"/", false, http.StatusNotFound},
		{"/debug/pprof/", false, http.StatusNotFound},
		{"/debug/pprof/heap", false, http.StatusNotFound},
		{"/debug/pprof/", true, http.StatusOK},
		{"/debug/pprof/goroutine?debug=1", true, http.StatusOK},
		{"/debug/pprof/profile?seconds=1", true, http.StatusOK},
		{"/debug/pprof/cmdline", true, http.StatusNotFound},
		{"/metrics", true, http.StatusOK},
	} {
		url := serve(t, new(operations.Readiness), tc.profiling)
		if status, body := get(t, url+tc.path); status != tc.want {
			t.Errorf("%s, profiling %t: %d %s", tc.path, tc.profiling, status, body)
		}
	}
	url := serve(t, new(operations.Readiness), false)
	if _, body := get(t, url+"/metrics"); !strings.Contains(body, "marque_test 7\n") {
		t.Errorf("%s", body)
	}
	response, err := http.Post(url+"/healthz", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %s", response.Status)
	}
}
