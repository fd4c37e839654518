// Package operations is the listener for operators: whether the process lives,
// whether it can serve, what it has done so far. It is apart from the main one
// and speaks through another HTTP server, so that it answers while that one is
// full, stalled or not there yet. It has no sign-in: the address decides who
// reaches it, and nothing that it tells is secret or names an account.
package operations

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config says what the listener tells.
type Config struct {
	Readiness *Readiness
	Metrics   prometheus.Gatherer
	Profiling bool // serve Go's profiles too
	Log       *slog.Logger
}

const (
	readTimeout   = 5 * time.Second
	answerTimeout = 10 * time.Second
	// profileTimeout is more than the longest profile that anybody waits for.
	profileTimeout = 5 * time.Minute
	maxHeader      = 8 << 10
	// maxScrapes is how many may read the metrics at once.
	maxScrapes = 4
)

// Server answers operators.
type Server struct {
	http  *http.Server
	ended chan struct{}
}

// Serve starts to answer on l, which has TLS already and is closed by Close.
func Serve(l net.Listener, cfg Config) *Server {
	s := &Server{
		http: &http.Server{
			Handler:     handler(&cfg),
			ReadTimeout: readTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
			ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		},
		ended: make(chan struct{}),
	}
	go func() {
		defer close(s.ended)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			cfg.Log.Error("the operations listener has died", slog.Any("error", err))
		}
	}()
	return s
}

// Close ends the listener. Whoever is reading a profile is cut off.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.ended
	return err
}

func handler(cfg *Config) http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, limit time.Duration, h http.Handler) {
		mux.Handle("GET "+path, within(limit, h))
	}
	handle("/healthz", answerTimeout, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// That this is answered is the answer. What the node needs to serve is
		// asked at /readyz: a restart brings no database back.
		respond(w, http.StatusOK, report{Status: "ok"})
	}))
	handle("/readyz", answerTimeout, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, told := cfg.Readiness.report(r.Context())
		respond(w, status, told)
	}))
	handle("/metrics", answerTimeout, promhttp.HandlerFor(cfg.Metrics, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelError),
	}))
	if cfg.Profiling {
		// Not the command line, which may hold what is nobody's business.
		handle("/debug/pprof/", profileTimeout, http.HandlerFunc(pprof.Index))
		handle("/debug/pprof/profile", profileTimeout, http.HandlerFunc(pprof.Profile))
		handle("/debug/pprof/trace", profileTimeout, http.HandlerFunc(pprof.Trace))
		handle("/debug/pprof/symbol", profileTimeout, http.HandlerFunc(pprof.Symbol))
	}
	return mux
}

// within bounds how long an answer may take to be written. It is not the
// server's own WriteTimeout, which pprof would refuse to exceed.
func within(d time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), d)
		defer cancel()
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		if deadline, ok := ctx.Deadline(); ok {
			_ = http.NewResponseController(w).SetWriteDeadline(deadline)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
