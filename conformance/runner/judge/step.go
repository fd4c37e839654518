package judge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/marque-id/marque/conformance/runner/cases"
	"github.com/marque-id/marque/conformance/runner/mock"
	"github.com/marque-id/marque/conformance/runner/protocol"
	"github.com/marque-id/marque/conformance/runner/wire"
)

// settling is how long what was started in the background gets to reach the
// place where it waits, which nothing on the wire shows. An SDK that is right
// passes however long that takes; one that is wrong is caught if it got there.
const settling = 120 * time.Millisecond

// step does one step: some are for the driver, some the runner does itself.
func (r *running) step(s *cases.Step) error {
	switch s.Verb() {
	case "arrived":
		return r.log.Await(r.ctx, s.Arrived, max(1, s.Times))
	case "release":
		r.mock.Release(s.Release)
		return nil
	case "settle":
		time.Sleep(settling)
		return nil
	case "play":
		script := mock.Script{}
		for route, replies := range s.Play {
			script[route] = replies.Replies
		}
		r.mock.Play(script)
		return nil
	case "write":
		return r.write(s.Write)
	case "database":
		switch {
		case r.live == nil:
			return errors.New("a mock has no database")
		case s.Database == "away":
			return r.live.away(r.ctx)
		}
		return r.live.restore(r.ctx)
	case "raw":
		return r.raw(s)
	}
	request, err := r.request(s)
	if err != nil {
		return err
	}
	patience := 5 * time.Second
	if s.Within > 0 {
		patience = time.Duration(s.Within * float64(time.Second))
	}
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		answer, err := r.driver.Ask(request)
		if err != nil {
			if errors.Is(err, protocol.ErrBroken) {
				r.drop()
			}
			return err
		}
		before := len(r.result.Failures)
		err = r.judge(s, answer)
		if !s.Eventually || err != nil || len(r.result.Failures) == before || time.Since(begin) > patience {
			return err
		}
		r.result.Failures = r.result.Failures[:before]
	}
}

// request is what the driver is asked for a step.
func (r *running) request(s *cases.Step) (protocol.Request, error) {
	request := protocol.Request{"op": s.Verb()}
	var err error
	switch s.Verb() {
	case "new", "verifier":
		err = r.construct(s, request)
	case "call", "iterate":
		err = r.call(s, request)
	case "token":
		request["on"] = s.Token
		err = r.put(request, "resource", s.Resource, "scopes", strs(s.Scopes))
	case "fetch":
		request["on"], request["method"] = s.Fetch, "GET"
		err = r.put(request, "method", s.Method, "url", s.URL, "headers", object(s.Headers), "body", s.Body)
		if s.Stream {
			request["replayable"] = false
		}
	case "verify":
		request["on"] = s.Verify
		err = r.put(request, "audience", s.Audience, "scopes", strs(s.Scopes), "token", r.jwt(s.JWT))
	case "following":
		request["on"] = s.Following
	case "protect":
		err = r.protect(s, request)
	case "start":
		var run protocol.Request
		if run, err = r.request(s.Run); err == nil {
			request["as"], request["run"] = s.Start, run
			r.started[s.Start] = s.Run
		}
	case "cancel":
		request["on"] = s.Cancel
	case "await":
		request["on"] = s.Await
	case "advance":
		request["seconds"] = *s.Advance
	}
	if err != nil {
		return nil, err
	}
	if s.Parallel > 0 {
		return protocol.Request{"op": "parallel", "count": s.Parallel, "run": request}, nil
	}
	return request, nil
}

// jwt is the text of a token that a step names.
func (r *running) jwt(name string) string {
	if _, known := r.vars["jwt."+name]; known {
		return "${jwt." + name + "}"
	}
	return name
}

func (r *running) call(s *cases.Step, request protocol.Request) error {
	id := s.Operation()
	request["on"], request["operation"] = "c", id
	args, err := r.vars.expand(any(s.Args))
	if err != nil {
		return err
	}
	members, _ := args.(map[string]any)
	if err := r.arrange(id, members, request); err != nil {
		return err
	}
	if s.Limit > 0 {
		request["limit"] = s.Limit
	}
	return r.put(request, "on", s.On, "options", s.Options)
}

func (r *running) protect(s *cases.Step, request protocol.Request) error {
	request["on"] = s.Protect
	inner := protocol.Request{"method": "GET", "path": "/"}
	var headers []any
	if s.JWT != "" {
		headers = append(headers, []any{"Authorization", "Bearer " + r.jwt(s.JWT)})
	}
	for name, value := range s.Headers {
		for line := range strings.SplitSeq(value, "\n") {
			headers = append(headers, []any{name, line})
		}
	}
	if err := r.put(inner, "method", s.Method, "path", s.Path, "headers", headers); err != nil {
		return err
	}
	request["request"] = inner
	return r.put(request, "scopes", strs(s.Scopes))
}

// put sets members whose value is there, expanded.
func (r *running) put(request protocol.Request, pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		switch x := pairs[i+1].(type) {
		case nil:
			continue
		case string:
			if x == "" {
				continue
			}
		case []any:
			if x == nil {
				continue
			}
		case map[string]any:
			if x == nil {
				continue
			}
		}
		value, err := r.vars.expand(pairs[i+1])
		if err != nil {
			return err
		}
		request[pairs[i].(string)] = value
	}
	return nil
}

func strs(texts []string) []any {
	var all []any
	for _, text := range texts {
		all = append(all, text)
	}
	return all
}

func object(texts map[string]string) map[string]any {
	if texts == nil {
		return nil
	}
	all := map[string]any{}
	for name, text := range texts {
		all[name] = text
	}
	return all
}

// raw sends what no SDK would.
func (r *running) raw(s *cases.Step) error {
	line, err := r.vars.string(s.Raw)
	if err != nil {
		return err
	}
	method, path, _ := strings.Cut(line, " ")
	var body io.Reader = http.NoBody
	if s.Body != nil {
		expanded, err := r.vars.expand(s.Body)
		if err != nil {
			return err
		}
		text, isText := expanded.(string)
		if !isText {
			encoded, err := json.Marshal(expanded)
			if err != nil {
				return err
			}
			text = string(encoded)
		}
		body = bytes.NewReader([]byte(text))
	}
	request, err := http.NewRequestWithContext(r.ctx, method, r.issuer+path, body)
	if err != nil {
		return err
	}
	request.Header.Set(ownRequest, "raw")
	for name, value := range s.Headers {
		text, err := r.vars.string(value)
		if err != nil {
			return err
		}
		request.Header.Set(name, text)
	}
	response, err := r.Authority.Client().Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if s.Events > 0 && wire.IsStream(response.Header) {
		got, err := readEvents(bufio.NewReader(response.Body), s.Events)
		if err != nil {
			return err
		}
		return r.compare(s, "response", map[string]any{"status": response.StatusCode, "events": got})
	}
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	got := map[string]any{"status": response.StatusCode, "body": string(text)}
	var decoded any
	if json.Unmarshal(text, &decoded) == nil {
		got["json"] = decoded
	}
	return r.compare(s, "response", got)
}

// readEvents reads n events of a stream, or as many as come before it ends.
func readEvents(stream *bufio.Reader, n int) (got []any, err error) {
	for len(got) < n {
		e, err := wire.ReadEvent(stream)
		if e.Name != "" {
			var data any
			if err := json.Unmarshal([]byte(e.Data), &data); err != nil {
				return nil, err
			}
			got = append(got, map[string]any{"id": e.ID, "event": e.Name, "data": data})
		}
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return got, nil
}

// ownRequest is a header by which requests of the runner itself are told from
// those of the SDK.
const ownRequest = "X-Conformance"

// clientID and clientSecret are what clients of a mock have unless a case says more.
const (
	clientID     = "sa_01jzt3v0q8n4m6x2c9k7b5h1d0"
	clientSecret = "mqs_q3VgXKb0L2m9RtYw7ZpNcHsJ5dFaEuGi8oBvT1xQk4WyMn0S"
)

var errClock = errors.New("clock is either absent or real")
