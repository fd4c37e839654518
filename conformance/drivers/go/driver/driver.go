// Package driver does what the conformance runner says with the public API of
// the Go SDK. ../../../README.md has the protocol.
package driver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	marque "github.com/marque-id/marque/sdks/go"
)

// Request is one request of the runner; each operation uses some of its members.
type Request struct {
	ID int    `json:"id"`
	Op string `json:"op"`
	As string `json:"as"`
	On string `json:"on"`

	Kind           string                                 `json:"kind"`
	Issuer         string                                 `json:"issuer"`
	CAFile         string                                 `json:"ca_file"`
	Credentials    *credentials                           `json:"credentials"`
	Environment    map[string]string                      `json:"environment"`
	Resource       string                                 `json:"resource"`
	Scopes         []string                               `json:"scopes"`
	Timeout        float64                                `json:"timeout"`
	TokenTimeout   float64                                `json:"token_timeout"`
	Retries        *int                                   `json:"retries"`
	RefreshWindows *struct{ Advisory, Mandatory float64 } `json:"refresh_windows"`
	Audience       string                                 `json:"audience"`
	Leeway         *float64                               `json:"leeway"`
	Revoked        []string                               `json:"revoked"`
	Follow         *follow                                `json:"follow"`
	Clock          *struct{ At int64 }                    `json:"clock"`

	Operation string                     `json:"operation"`
	Path      []string                   `json:"path"`
	Query     map[string]json.RawMessage `json:"query"`
	Headers   map[string]string          `json:"headers"`
	Body      json.RawMessage            `json:"body"`
	Limit     int                        `json:"limit"`
	Options   options                    `json:"options"`

	Method     string `json:"method"`
	URL        string `json:"url"`
	Replayable *bool  `json:"replayable"`
	Token      string `json:"token"`
	Request    struct {
		Method, Path string
		Headers      [][2]string
	} `json:"request"`

	Count   int      `json:"count"`
	Run     *Request `json:"run"`
	Seconds float64  `json:"seconds"`
}

type follow struct {
	Client     string  `json:"client"`
	Audience   string  `json:"audience"`
	StaleAfter float64 `json:"stale_after"`
	FailOpen   bool    `json:"fail_open"`
}

type credentials struct {
	ClientID         string `json:"client_id"`
	ClientSecret     string `json:"client_secret"`
	ClientSecretFile string `json:"client_secret_file"`
	APIKey           string `json:"api_key"`
	APIKeyFile       string `json:"api_key_file"`
}

type options struct {
	Timeout        float64           `json:"timeout"`
	Retries        *int              `json:"retries"`
	IdempotencyKey string            `json:"idempotency_key"`
	Headers        map[string]string `json:"headers"`
}

// Answer is the answer to one request.
type Answer struct {
	ID          int       `json:"id,omitempty"`
	OK          any       `json:"ok,omitempty"`
	Err         *Refusal  `json:"err,omitempty"`
	Unsupported string    `json:"unsupported,omitempty"`
	Fault       string    `json:"fault,omitempty"`
	Slept       []float64 `json:"slept,omitempty"`
}

// object is a JSON object.
type object = map[string]any

// Bent is what a driver that is broken on purpose does otherwise. The zero Bent
// is the true driver.
type Bent struct {
	// Transport, when set, is put around the transport that the SDK sends with.
	Transport func(*http.Transport) http.RoundTripper
	// Clock, when set, is put around the clock that the SDK is given.
	Clock func(marque.Clock) marque.Clock
	// Do, when set, is called instead of each operation and may call it.
	Do func(d *Driver, r *Request, do func(*Request) Answer) Answer
}

// Driver is what has been made so far.
type Driver struct {
	bent Bent

	mu        sync.Mutex
	clients   map[string]*client
	verifiers map[string]*verifier
	started   map[string]*task
	clocks    []*clock
	restore   []func()
}

type client struct {
	*marque.Client
	made     *Request
	resource string
	scopes   []string
}

type verifier struct {
	*marque.Verifier
	made     *Request
	audience string
	follower *marque.Follower // nil where it follows nothing
}

// task is what was started.
type task struct {
	cancel context.CancelFunc
	answer chan Answer
}

// Serve answers requests until there are no more.
func Serve(in io.Reader, out io.Writer, bent Bent) error {
	d := &Driver{bent: bent}
	d.forget()
	lines, answers := bufio.NewReader(in), json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		var r Request
		var answer Answer
		if err := json.Unmarshal(line, &r); err != nil {
			answer = fault("the request cannot be read: %v", err)
		} else {
			answer = d.Do(context.Background(), &r)
		}
		answer.ID, answer.Slept = r.ID, d.slept()
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

func fault(format string, args ...any) Answer { return Answer{Fault: fmt.Sprintf(format, args...)} }

// Do does one operation.
func (d *Driver) Do(ctx context.Context, r *Request) (answer Answer) {
	defer func() {
		if cause := recover(); cause != nil {
			answer = fault("panic: %v", cause)
		}
	}()
	do := func(r *Request) Answer { return d.do(ctx, r) }
	if d.bent.Do != nil {
		return d.bent.Do(d, r, do)
	}
	return do(r)
}

func (d *Driver) do(ctx context.Context, r *Request) Answer {
	switch r.Op {
	case "hello":
		return Answer{OK: object{"sdk": "go", "version": marque.Version, "protocol": 1}}
	case "new":
		return d.construct(r)
	case "call", "iterate":
		return d.on(r, func(c *client) Answer { return call(ctx, c, r) })
	case "token":
		return d.on(r, func(c *client) Answer { return token(ctx, c, r) })
	case "fetch":
		return d.on(r, func(c *client) Answer { return fetch(ctx, c, r) })
	case "verify", "protect", "following":
		d.mu.Lock()
		v := d.verifiers[r.On]
		d.mu.Unlock()
		if v == nil {
			return fault("there is no verifier %s", r.On)
		}
		switch r.Op {
		case "protect":
			return protect(ctx, v, r)
		case "following":
			return following(v)
		}
		return verify(ctx, v, r)
	case "parallel":
		return d.parallel(ctx, r)
	case "start":
		d.start(r)
	case "cancel", "await":
		return d.meet(r)
	case "advance":
		for _, c := range d.clocks {
			c.advance(time.Duration(r.Seconds * float64(time.Second)))
		}
	case "close":
		d.forget()
	default:
		return fault("there is no operation %q", r.Op)
	}
	return Answer{OK: object{}}
}

func (d *Driver) on(r *Request, do func(*client) Answer) Answer {
	d.mu.Lock()
	c := d.clients[r.On]
	d.mu.Unlock()
	if c == nil {
		return fault("there is no client %s", r.On)
	}
	return do(c)
}

// parallel begins all before it waits for the first.
func (d *Driver) parallel(ctx context.Context, r *Request) Answer {
	answers := make([]Answer, max(1, r.Count))
	gate := make(chan struct{})
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			<-gate
			answers[i] = d.Do(ctx, r.Run)
		})
	}
	close(gate)
	all.Wait()
	return Answer{OK: object{"answers": answers}}
}

func (d *Driver) start(r *Request) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &task{cancel: cancel, answer: make(chan Answer, 1)}
	d.started[r.As] = t
	go func() { t.answer <- d.Do(ctx, r.Run) }()
}

func (d *Driver) meet(r *Request) Answer {
	t := d.started[r.On]
	if t == nil {
		return fault("nothing was started as %s", r.On)
	}
	if r.Op == "cancel" {
		t.cancel()
		return Answer{OK: object{}}
	}
	answer := <-t.answer
	t.answer <- answer // it may be awaited again
	return answer
}

// forget leaves a driver as new.
func (d *Driver) forget() {
	for _, t := range d.started {
		t.cancel()
		<-t.answer
	}
	for _, v := range d.verifiers {
		if v.follower != nil {
			v.follower.Close()
		}
	}
	for _, restore := range d.restore {
		restore()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clients, d.verifiers, d.started = map[string]*client{}, map[string]*verifier{}, map[string]*task{}
	d.clocks, d.restore = nil, nil
}

func (d *Driver) slept() []float64 {
	var all []float64
	for _, c := range d.clocks {
		all = append(all, c.take()...)
	}
	return all
}

func (d *Driver) setenv(variables map[string]string) {
	for name, value := range variables {
		before, was := os.LookupEnv(name)
		_ = os.Setenv(name, value)
		d.restore = append(d.restore, func() {
			if was {
				_ = os.Setenv(name, before)
			} else {
				_ = os.Unsetenv(name)
			}
		})
	}
}
