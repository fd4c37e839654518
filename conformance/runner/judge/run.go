package judge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/marque-id/marque/conformance/runner/cases"
	"github.com/marque-id/marque/conformance/runner/mint"
	"github.com/marque-id/marque/conformance/runner/mock"
	"github.com/marque-id/marque/conformance/runner/protocol"
	"github.com/marque-id/marque/conformance/runner/wire"
)

// Result is how one case ended with one SDK on one database.
type Result struct {
	Case        *cases.Case
	SDK         string
	Database    string // empty for a mock
	Failures    []string
	Unsupported string // the SDK cannot do it, and says why
	Skipped     string
	Trace       string // what went over the wire, secrets masked
	Took        time.Duration

	Exercised []string // operations that the SDK made succeed at the real server
	LiveCodes []string // error codes of the real server
	Codes     []string // error codes that the SDK told
}

// Passed reports whether everything was as expected.
func (r *Result) Passed() bool {
	return len(r.Failures) == 0 && r.Unsupported == "" && r.Skipped == ""
}

// running is a case while it runs.
type running struct {
	*Session
	*cases.Case
	ctx     context.Context
	driver  *protocol.Driver
	log     *wire.Log
	mock    *mock.Server
	live    *liveServer
	dir     string
	issuer  string
	vars    variables
	started map[string]*cases.Step
	secrets []string
	result  *Result
}

// errUnsupported ends a case that the SDK cannot do.
var errUnsupported = errors.New("unsupported")

// Run runs one case.
func (s *Session) Run(ctx context.Context, c *cases.Case) *Result {
	s.number++
	result := &Result{Case: c, SDK: s.SDK}
	if c.Live {
		result.Database = s.Database
	}
	if c.Skip != "" {
		result.Skipped = c.Skip
		return result
	}
	r := &running{
		Session: s, Case: c, ctx: ctx, log: &wire.Log{}, vars: variables{}, started: map[string]*cases.Step{}, result: result,
	}
	begin := time.Now()
	err := r.run()
	result.Took = time.Since(begin)
	switch {
	case errors.Is(err, errUnsupported):
		result.Failures = nil
	case err != nil:
		r.fail("%v", err)
	}
	exchanges := r.log.Exchanges()
	r.observe(exchanges)
	if len(result.Failures) > 0 {
		mask := wire.Mask(append(wire.Secrets(exchanges), r.secrets...))
		result.Trace = r.log.Trace(mask)
		for i, failure := range result.Failures {
			result.Failures[i] = mask(failure)
		}
	}
	return result
}

func (r *running) fail(format string, args ...any) {
	r.result.Failures = append(r.result.Failures, fmt.Sprintf(format, args...))
}

func (r *running) run() error {
	var err error
	if r.driver, err = r.use(r.ctx); err != nil {
		return err
	}
	defer r.end()
	if err := r.prepare(); err != nil {
		return err
	}
	if r.mock != nil {
		defer r.mock.Close()
	} else {
		defer func() { r.live.proxy.Record(&wire.Log{}) }()
	}
	for n := range r.Steps {
		if err := r.step(&r.Steps[n]); err != nil {
			if errors.Is(err, errUnsupported) {
				return err
			}
			return fmt.Errorf("step %d (%s): %w", n+1, r.Steps[n].Verb(), err)
		}
		if len(r.result.Failures) > 0 {
			r.result.Failures[0] = fmt.Sprintf("step %d (%s): %s", n+1, r.Steps[n].Verb(), r.result.Failures[0])
			return nil // what follows would only follow from that
		}
	}
	// Background work ends before the wire is looked at.
	if _, err := r.driver.Ask(protocol.Request{"op": "close"}); err != nil {
		return err
	}
	r.checkWire()
	return nil
}

// end leaves driver and server as the next case wants them.
func (r *running) end() {
	if r.live != nil && r.live.back != nil {
		if err := r.live.restore(r.ctx); err != nil {
			r.fail("%v", err)
		}
	}
	if r.mock != nil {
		r.mock.Close() // else what hangs there would keep the driver from closing
	}
	if _, err := r.driver.Ask(protocol.Request{"op": "close"}); err != nil {
		r.fail("close: %v", err)
		r.drop()
		return
	}
	r.checkLog(r.driver.TakeLog())
}

// prepare starts what the case wants to talk to and sets its variables.
func (r *running) prepare() error {
	var err error
	if r.dir, err = r.directory(); err != nil {
		return err
	}
	r.vars["dir"] = r.dir
	r.vars["unique"] = fmt.Sprintf("c%d", r.number)
	r.vars["long"], r.vars["huge"] = strings.Repeat("x", 40_000), strings.Repeat("x", 70_000)
	r.vars["authority"], r.vars["other_authority"] = r.Authority.File, r.Other.File
	if r.Live {
		if r.live, err = r.Session.live(r.ctx, r.Server); err != nil {
			return err
		}
		r.live.proxy.Record(r.log)
		r.issuer = r.live.proxy.URL
		r.vars["admin_id"], r.vars["admin_secret"] = r.live.AdminID, r.live.AdminSecret
		r.secrets = append(r.secrets, r.live.AdminSecret)
	} else {
		keys, err := mint.NewKeys(r.Keys)
		if err != nil {
			return err
		}
		if r.mock, err = mock.Start(r.Authority, keys, r.log); err != nil {
			return err
		}
		r.mock.Play(r.Script())
		r.issuer = r.mock.URL
		for name, token := range r.Tokens {
			text, err := keys.Make(token, r.issuer)
			if err != nil {
				return fmt.Errorf("the token %s: %w", name, err)
			}
			r.vars["jwt."+name] = text
		}
	}
	r.vars["issuer"] = r.issuer
	return r.write(r.Files)
}

func (r *running) write(files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content, err := r.vars.string(files[name])
		if err != nil {
			return err
		}
		file := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return err
		}
		if strings.Contains(name, "secret") {
			r.secrets = append(r.secrets, strings.TrimSpace(content))
		}
	}
	return nil
}
