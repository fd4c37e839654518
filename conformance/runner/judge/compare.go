package judge

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/marque-id/marque/conformance/runner/cases"
	"github.com/marque-id/marque/conformance/runner/match"
	"github.com/marque-id/marque/conformance/runner/protocol"
)

// judge compares the answer to a step with what it expects.
func (r *running) judge(s *cases.Step, answer protocol.Answer) error {
	if s.Slept != nil {
		slept := []any{}
		for _, seconds := range answer.Slept {
			slept = append(slept, seconds)
		}
		r.differ(match.Diff("slept", s.Slept, slept))
	}
	// What was started is judged when it is awaited, as what it is.
	expected, run := s, s
	if s.Await != "" {
		if run = r.started[s.Await]; run == nil {
			return fmt.Errorf("nothing was started as %s", s.Await)
		}
	}
	if run.Parallel == 0 {
		return r.one(expected, run, answer)
	}
	if answer.OK == nil {
		return r.one(expected, run, answer)
	}
	answers, err := answer.Answers()
	if err != nil {
		return err
	}
	if len(answers) != run.Parallel {
		return fmt.Errorf("%d answers to %d calls", len(answers), run.Parallel)
	}
	for n, a := range answers {
		if err := r.one(expected, run, a); err != nil {
			return err
		}
		if len(r.result.Failures) > 0 {
			r.fail("that was answer %d of %d", n+1, len(answers))
			return nil
		}
	}
	return nil
}

func (r *running) one(s, run *cases.Step, answer protocol.Answer) error {
	switch {
	case answer.Fault != "":
		return fmt.Errorf("the driver has a fault: %s", answer.Fault)
	case answer.Unsupported != "":
		r.result.Unsupported = answer.Unsupported
		return errUnsupported
	case answer.Err != nil:
		return r.refused(s, answer.Err)
	}
	ok, err := answer.Object()
	if err != nil {
		return err
	}
	if text, _ := ok["text"].(string); text != "" {
		r.checkText(run.Verb(), text)
	}
	if s.Error != nil {
		r.fail("expected an error %s, got %s", match.Show(s.Error), match.Show(ok))
		return nil
	}
	var value any = ok
	if run.Call != "" {
		value = ok["value"]
		expected, err := r.vars.expand(any(s.Meta))
		if err != nil {
			return err
		}
		if s.Meta != nil {
			r.differ(match.Diff("meta", expected, ok))
		}
	}
	return r.compare(s, "value", value)
}

func (r *running) refused(s *cases.Step, refusal *protocol.Err) error {
	r.result.Codes = append(r.result.Codes, refusal.Code)
	r.checkText("error", refusal.Text)
	text, err := json.Marshal(refusal)
	if err != nil {
		return err
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		return err
	}
	if s.Error == nil {
		r.fail("an error: %s", text)
		return nil
	}
	expected, err := r.vars.expand(any(s.Error))
	if err != nil {
		return err
	}
	for _, diff := range match.Diff("error", expected, got) {
		r.fail("%s, in %s", diff, text)
	}
	return nil
}

// compare looks at a value and keeps from it what the step saves.
func (r *running) compare(s *cases.Step, what string, value any) error {
	if s.Expect != nil {
		expected, err := r.vars.expand(s.Expect)
		if err != nil {
			return err
		}
		r.differ(match.Diff(what, expected, value))
	}
	for name, path := range s.Save {
		found, err := place(value, path)
		if err != nil {
			return fmt.Errorf("save %s: %w in %s", name, err, match.Show(value))
		}
		r.vars[name] = found
		if text, _ := found.(string); strings.HasPrefix(text, "mqs_") || strings.HasPrefix(text, "mqk_") {
			r.secret(text)
		}
	}
	return nil
}

func (r *running) differ(diffs []string) {
	for _, diff := range diffs {
		r.fail("%s", diff)
	}
}
