package telemetry

import (
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the metrics of one server, in a registry of their own. No label
// holds an id or any other text of a caller: what a label may say is a closed
// list, and what is not in it is "other". A nil Metrics counts nothing.
type Metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	mu        sync.Mutex
	byName    atomic.Pointer[map[string]*operation]

	codes, refusals *bounded
	issued          *bounded
	panics          prometheus.Counter
	batch           prometheus.Histogram
	commit          prometheus.Histogram
	commitFailures  prometheus.Counter
	reloads         *prometheus.CounterVec
	unproxied       prometheus.Counter
}

// NewMetrics makes the metrics of a server of the given release.
func NewMetrics(release string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "marque_requests_total", Help: "Answered requests, by operation of the contract and status.",
		}, []string{"operation", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "marque_request_duration_seconds", Help: "From a request's last byte read to its answer made, by operation.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .1, .25, 1},
		}, []string{"operation"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "marque_panics_total", Help: "Requests that were answered 500 because a handler panicked.",
		}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "marque_audit_batch_events", Help: "Decisions recorded by one commit.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "marque_audit_commit_duration_seconds", Help: "How long a commit of decisions took.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .1, .25, 1},
		}),
		commitFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "marque_audit_commit_failures_total", Help: "Commits of decisions that failed; nobody in them got a token.",
		}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "marque_certificate_reloads_total", Help: "Certificates taken over from changed files, or not, by outcome.",
		}, []string{"outcome"}),
		unproxied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "marque_proxy_headers_refused_total", Help: "Connections of listed balancers without an acceptable PROXY header.",
		}),
	}
	m.byName.Store(new(map[string]*operation))
	m.codes = m.bounded("marque_refusals_total", "Requests answered with an error, by its code.", "code")
	m.refusals = m.bounded("marque_sign_in_refusals_total", "Refused token requests and client authentications, by the reason that the audit log has.", "reason")
	m.issued = m.bounded("marque_tokens_issued_total", "Issued tokens, by grant.", "grant")
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "marque_build_info", Help: "1, with the release in the labels.",
		ConstLabels: prometheus.Labels{"release": release, "go": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.requests, m.durations, m.panics, m.batch, m.commit, m.commitFailures, m.reloads, m.unproxied, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, outcome := range []string{"success", "failure"} {
		m.reloads.WithLabelValues(outcome)
	}
	return m
}

// Gatherer reads the metrics.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// operation has the metrics of one operation at hand: finding them by their
// labels would cost more than counting.
type operation struct {
	duration prometheus.Observer
	statuses [600]atomic.Pointer[prometheus.Counter]
}

// request counts an answered request. Operations are those of the contract, so
// there are few.
func (m *Metrics) request(r *Request) {
	if m == nil {
		return
	}
	name := r.operation()
	op := (*m.byName.Load())[name]
	if op == nil {
		op = m.learn(name)
	}
	status := r.Status
	if status < 100 || status > 599 {
		status = 599
	}
	counter := op.statuses[status].Load()
	if counter == nil {
		c := m.requests.WithLabelValues(name, strconv.Itoa(status))
		counter = &c
		op.statuses[status].Store(counter)
	}
	(*counter).Inc()
	op.duration.Observe(r.Took.Seconds())
	if r.Code != "" {
		m.codes.inc(r.Code)
	}
}

// learn adds an operation at its first request.
func (m *Metrics) learn(name string) *operation {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := *m.byName.Load()
	if op := known[name]; op != nil {
		return op
	}
	more := make(map[string]*operation, len(known)+1)
	for k, v := range known {
		more[k] = v
	}
	op := &operation{duration: m.durations.WithLabelValues(name)}
	more[name] = op
	m.byName.Store(&more)
	return op
}

// Issued counts a token that was issued by a grant.
func (m *Metrics) Issued(grant string) {
	if m != nil {
		m.issued.inc(grant)
	}
}

// Refused counts a refused sign-in, with the reason that the audit log has.
func (m *Metrics) Refused(reason string) {
	if m != nil {
		m.refusals.inc(reason)
	}
}

// Panicked counts a panic of a handler.
func (m *Metrics) Panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

// Committed counts a commit of decisions.
func (m *Metrics) Committed(events int, took time.Duration, err error) {
	if m == nil {
		return
	}
	if err != nil {
		m.commitFailures.Inc()
		return
	}
	m.batch.Observe(float64(events))
	m.commit.Observe(took.Seconds())
}

// CertificateReloaded counts a certificate whose files have changed.
func (m *Metrics) CertificateReloaded(ok bool) {
	outcome := "failure"
	if ok {
		outcome = "success"
	}
	m.reloads.WithLabelValues(outcome).Inc()
}

// ProxyHeaderRefused counts a connection without an acceptable PROXY header.
func (m *Metrics) ProxyHeaderRefused() { m.unproxied.Inc() }

// Gauge adds a value that is read whenever somebody looks.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// Counter adds a value that only grows and is read whenever somebody looks.
func (m *Metrics) Counter(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// maxValues bounds a label whose values are words of ours: a safeguard, should
// a word of somebody else ever get there.
const maxValues = 64

// bounded is a counter with one label.
type bounded struct {
	vector *prometheus.CounterVec
	mu     sync.RWMutex
	known  map[string]prometheus.Counter
}

func (m *Metrics) bounded(name, help, label string) *bounded {
	b := &bounded{
		vector: prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label}),
		known:  map[string]prometheus.Counter{},
	}
	m.registry.MustRegister(b.vector)
	return b
}

func (b *bounded) inc(value string) {
	b.mu.RLock()
	c := b.known[value]
	b.mu.RUnlock()
	if c == nil {
		c = b.learn(value)
	}
	c.Inc()
}

func (b *bounded) learn(value string) prometheus.Counter {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.known) >= maxValues {
		value = "other"
	}
	c := b.vector.WithLabelValues(value)
	b.known[value] = c
	return c
}
