package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/runner/cases"
	"github.com/marque-id/marque/conformance/runner/gate"
	"github.com/marque-id/marque/conformance/runner/judge"
	"github.com/marque-id/marque/conformance/runner/report"
	"github.com/marque-id/marque/conformance/runner/wire"
)

// drivers says how the driver of each SDK is started, in the root of the repository.
func drivers() map[string][]string {
	return map[string][]string{
		"go":           {folder + "/drivers/go/run"},
		"python":       {folder + "/drivers/python/run"},
		"python-async": {folder + "/drivers/python/run", "--async"},
		"typescript":   {folder + "/drivers/typescript/run"},
	}
}

func allSDKs() []string {
	var all []string
	for name := range drivers() {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// world is what all sessions share.
type world struct {
	flags
	root             string
	dir              string
	authority, other *wire.Authority
	contract         *wire.Contract
	cluster          *postgres.Cluster
}

func newWorld(ctx context.Context, f flags, contract *wire.Contract) (*world, error) {
	w := &world{flags: f, contract: contract}
	var err error
	if w.root, err = os.Getwd(); err != nil {
		return nil, err
	}
	if w.binary, err = filepath.Abs(f.binary); err != nil {
		return nil, err
	}
	if _, err := os.Stat(w.binary); err != nil {
		return nil, fmt.Errorf("%w: make build builds it", err)
	}
	if w.dir, err = os.MkdirTemp("", "marque-conformance-"); err != nil {
		return nil, err
	}
	if w.authority, err = wire.NewAuthority(filepath.Join(w.dir, "ca.pem")); err != nil {
		return nil, err
	}
	if w.other, err = wire.NewAuthority(filepath.Join(w.dir, "other-ca.pem")); err != nil {
		return nil, err
	}
	if slices.Contains(f.databases, "postgresql") {
		w.cluster, err = postgres.StartIn(ctx, "")
	}
	return w, err
}

func (w *world) close() {
	if w.cluster != nil {
		w.cluster.Stop()
	}
	_ = os.RemoveAll(w.dir)
}

// job is the cases of one session: all the mock cases of an SDK, or its live
// cases on one database.
type job struct {
	sdk, database string
	cases         []*cases.Case
}

func (w *world) jobs(selected []*cases.Case) []job {
	var live, mock []*cases.Case
	for _, c := range selected {
		if c.Live {
			live = append(live, c)
		} else {
			mock = append(mock, c)
		}
	}
	var all []job
	for _, sdk := range w.sdks {
		if len(live) > 0 {
			for _, database := range w.databases {
				all = append(all, job{sdk, database, live})
			}
		}
		if len(mock) > 0 {
			all = append(all, job{sdk, "", mock})
		}
	}
	return all
}

func (w *world) options(sdk, database, dir string, command []string) judge.Options {
	return judge.Options{
		SDK: sdk, Command: command, Root: w.root, Dir: filepath.Join(w.dir, dir), Binary: w.binary,
		Database: database, Cluster: w.cluster, Authority: w.authority, Other: w.other, Contract: w.contract,
	}
}

// judge runs everything that was selected, and the gates when that is all.
func (w *world) judge(ctx context.Context, all, selected []*cases.Case) (*report.Run, error) {
	declared := map[string]*gate.Declared{}
	for _, sdk := range w.sdks {
		if w.drivers[sdk] == nil {
			return nil, fmt.Errorf("there is no driver for %s, only for %s", sdk, strings.Join(allSDKs(), ", "))
		}
		d, err := gate.ReadDeclared(filepath.Join(folder, "known-failing", sdk+".txt"))
		if err != nil {
			return nil, err
		}
		declared[sdk] = d
	}
	results := w.runAll(ctx, w.jobs(selected))
	run := &report.Run{}
	for _, r := range results {
		run.Lines = append(run.Lines, verdict(r, declared[r.SDK]))
	}
	if w.texts != nil {
		return run, ctx.Err()
	}
	gates, err := w.gates(all, results, declared)
	if err != nil {
		return nil, err
	}
	run.Lines = append(run.Lines, gates...)
	if w.broken {
		caught, err := w.catch(ctx, all)
		if err != nil {
			return nil, err
		}
		run.Lines = append(run.Lines, caught...)
	}
	return run, ctx.Err()
}

// runAll runs the jobs, several at a time, and gives the results in their order.
func (w *world) runAll(ctx context.Context, jobs []job) []*judge.Result {
	results := make([][]*judge.Result, len(jobs))
	turns := make(chan struct{}, max(1, w.flags.jobs))
	var all sync.WaitGroup
	for i, j := range jobs {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			dir := fmt.Sprintf("%s-%s", j.sdk, j.database)
			results[i] = w.session(ctx, w.options(j.sdk, j.database, dir, w.drivers[j.sdk]), j.cases)
		})
	}
	all.Wait()
	return slices.Concat(results...)
}

// session runs cases one after the other with one driver.
func (w *world) session(ctx context.Context, o judge.Options, selected []*cases.Case) []*judge.Result {
	s := judge.NewSession(o)
	var results []*judge.Result
	for i, c := range selected {
		if ctx.Err() != nil {
			break
		}
		r := s.Run(ctx, c)
		results = append(results, r)
		if s.Lost() {
			r.Failures = append(r.Failures, fmt.Sprintf("%d cases have not been run", len(selected)-i-1))
			break
		}
	}
	if err := s.Close(); err != nil && len(results) > 0 {
		last := results[len(results)-1]
		last.Failures = append(last.Failures, fmt.Sprintf("the driver did not end well: %v", err))
	}
	return results
}

func verdict(r *judge.Result, d *gate.Declared) report.Line {
	switch {
	case r.Skipped != "":
		return report.Line{Result: r, Verdict: report.Skipped, Why: r.Skipped}
	case r.Unsupported != "":
		if why, declared := d.Cannot(r.Case); declared {
			return report.Line{Result: r, Verdict: report.Skipped, Why: why}
		}
		return report.Line{Result: r, Verdict: report.Failed}
	case len(r.Failures) > 0:
		if why, declared := d.Fails(r.Case); declared {
			return report.Line{Result: r, Verdict: report.Known, Why: why}
		}
		return report.Line{Result: r, Verdict: report.Failed}
	}
	return report.Line{Result: r, Verdict: report.Passed}
}
