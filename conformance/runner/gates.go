package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/marque-id/marque/conformance/runner/cases"
	"github.com/marque-id/marque/conformance/runner/gate"
	"github.com/marque-id/marque/conformance/runner/judge"
	"github.com/marque-id/marque/conformance/runner/report"
)

// gates are judged like cases.
func (w *world) gates(all []*cases.Case, results []*judge.Result, declared map[string]*gate.Declared) ([]report.Line, error) {
	unreachable, err := gate.ReadUnreachable(filepath.Join(folder, "cases", "unreachable.txt"))
	if err != nil {
		return nil, err
	}
	var stale []string
	for _, sdk := range w.sdks {
		stale = append(stale, declared[sdk].Stale()...)
	}
	return []report.Line{
		line("gates", "runner", "the contract has nothing that no case tries", gate.Missing(w.contract.Document, all)),
		line("gates", "runner", "every operation and every error with every SDK", gate.Seen(w.contract.Document, results, unreachable)),
		line("gates", "runner", "no declaration is stale", stale),
	}, nil
}

func line(suite, sdk, name string, failures []string) report.Line {
	l := report.Line{Result: &judge.Result{Case: &cases.Case{Suite: suite, Name: name}, SDK: sdk, Failures: failures}, Verdict: report.Passed}
	if len(failures) > 0 {
		l.Verdict = report.Failed
	}
	return l
}

// bug is a line of broken/bugs.yaml.
type bug struct {
	Name     string   `yaml:"bug"`
	Means    string   `yaml:"means"`
	CaughtBy []string `yaml:"caught_by"`
}

// catch runs each broken driver through the cases that must catch it.
func (w *world) catch(ctx context.Context, all []*cases.Case) ([]report.Line, error) {
	text, err := os.ReadFile(filepath.Join(folder, "broken", "bugs.yaml"))
	if err != nil {
		return nil, err
	}
	var bugs []bug
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&bugs); err != nil {
		return nil, fmt.Errorf("broken/bugs.yaml: %w", err)
	}
	binary := filepath.Join(w.dir, "broken")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./"+folder+"/broken")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the broken driver: %w\n%s", err, out)
	}
	byID := map[string]*cases.Case{}
	for _, c := range all {
		byID[c.ID()] = c
	}
	// The same cases must let the broken driver pass while it has no bug.
	lines := []report.Line{line("broken", "broken go", "none: no bug at all", w.alarmed(ctx, binary, bugs, byID))}
	for _, b := range bugs {
		begin := time.Now()
		l := line("broken", "broken go", b.Name+": "+b.Means, w.escaped(ctx, binary, b, byID))
		l.Took = time.Since(begin)
		lines = append(lines, l)
	}
	return lines, nil
}

// escaped are the cases that should have caught a bug and did not.
func (w *world) escaped(ctx context.Context, binary string, b bug, byID map[string]*cases.Case) []string {
	if len(b.CaughtBy) == 0 {
		return []string{"no case is named that would catch it"}
	}
	s := judge.NewSession(w.options("broken", w.databases[0], "broken-"+b.Name, []string{binary, "-bug=" + b.Name}))
	defer func() { _ = s.Close() }()
	if err := s.Greet(ctx); err != nil {
		return []string{err.Error()}
	}
	var escaped []string
	for _, id := range b.CaughtBy {
		c := byID[id]
		switch {
		case c == nil:
			escaped = append(escaped, "there is no case "+id)
		case s.Run(ctx, c).Passed():
			escaped = append(escaped, id+" does not notice it")
		}
	}
	return escaped
}

// alarmed are the cases that find fault where there is none.
func (w *world) alarmed(ctx context.Context, binary string, bugs []bug, byID map[string]*cases.Case) []string {
	s := judge.NewSession(w.options("broken", w.databases[0], "broken-none", []string{binary, "-bug=none"}))
	defer func() { _ = s.Close() }()
	var alarmed []string
	tried := map[string]bool{}
	for _, b := range bugs {
		for _, id := range b.CaughtBy {
			c := byID[id]
			if c == nil || tried[id] {
				continue
			}
			tried[id] = true
			if r := s.Run(ctx, c); !r.Passed() {
				alarmed = append(alarmed, fmt.Sprintf("%s: %v", id, r.Failures))
			}
		}
	}
	return alarmed
}
