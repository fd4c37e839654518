package operations

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Check is one thing that must be well for this node to serve. It returns what
// is wrong.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// checkTimeout bounds all checks together: whoever asks has a timeout as well.
const checkTimeout = time.Second

// phase is where in its life the server is.
type phase int32

const (
	starting phase = iota
	serving
	stopping
)

// Readiness tells whether this node should get requests. The zero value says
// that it is starting.
type Readiness struct {
	phase  atomic.Int32
	checks atomic.Pointer[[]Check]
}

// Serving says that the node answers from now on, as long as the checks are well.
func (r *Readiness) Serving(checks []Check) {
	r.checks.Store(&checks)
	r.phase.CompareAndSwap(int32(starting), int32(serving))
}

// Stopping says that the node should get no more requests, for good.
func (r *Readiness) Stopping() { r.phase.Store(int32(stopping)) }

// report is the body of an answer.
type report struct {
	Status string            `json:"status"` // ok, starting, stopping or failing
	Checks map[string]string `json:"checks,omitempty"`
}

func (r *Readiness) report(ctx context.Context) (int, report) {
	switch phase(r.phase.Load()) {
	case starting:
		return http.StatusServiceUnavailable, report{Status: "starting"}
	case stopping:
		return http.StatusServiceUnavailable, report{Status: "stopping"}
	}
	told := report{Status: "ok", Checks: map[string]string{}}
	status := http.StatusOK
	for name, err := range run(ctx, *r.checks.Load()) {
		told.Checks[name] = "ok"
		if err != nil {
			told.Checks[name] = err.Error()
			told.Status, status = "failing", http.StatusServiceUnavailable
		}
	}
	return status, told
}

// run runs all checks at once. One that does not end in time has failed; it is
// left to notice its context.
func run(ctx context.Context, checks []Check) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	results := make([]error, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			done := make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			select {
			case results[i] = <-done:
			case <-ctx.Done():
				results[i] = errSlow
			}
		})
	}
	all.Wait()
	byName := make(map[string]error, len(checks))
	for i, c := range checks {
		byName[c.Name] = results[i]
	}
	return byName
}

func respond(w http.ResponseWriter, status int, body report) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	text, err := json.MarshalIndent(body, "", "  ")
	if err == nil {
		_, _ = w.Write(append(text, '\n')) // who asked may have gone
	}
}

var errSlow = errors.New("no answer within a second")
