// Command runner judges the SDKs: it drives each through the cases of
// conformance/cases, with the real server behind a proxy that checks every
// request and response against openapi.yaml, and with mocks that misbehave.
// ../README.md describes drivers, cases and gates.
//
//	go run ./conformance/runner                               everything
//	go run ./conformance/runner -sdk go -run token-cache      one SDK, one suite
//	go run ./conformance/runner -gates -spec openapi.yaml     what has no case
//
// It is started in the root of the repository. The last line of its output is
// `N passed, N failed, N skipped`; the exit code is 1 when something failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/marque-id/marque/conformance/runner/cases"
	"github.com/marque-id/marque/conformance/runner/gate"
	"github.com/marque-id/marque/conformance/runner/report"
	"github.com/marque-id/marque/conformance/runner/wire"
)

// folder has the cases, drivers and declarations, from the root of the repository.
const folder = "conformance"

type flags struct {
	sdks, databases, texts []string
	binary, spec, out      string
	gates, broken          bool
	jobs                   int
	drivers                map[string][]string
}

func main() {
	var f flags
	var sdks, databases, texts string
	flag.StringVar(&sdks, "sdk", strings.Join(allSDKs(), ","), "the SDKs to judge")
	flag.StringVar(&databases, "database", "sqlite,postgresql", "the databases that the server runs on")
	flag.StringVar(&texts, "run", "", "only cases whose suite/name contains one of these texts, which commas separate; the gates are left out then")
	flag.StringVar(&f.binary, "marque", filepath.Join("bin", "marque"), "the server's binary")
	flag.StringVar(&f.spec, "spec", "openapi.yaml", "the contract")
	flag.StringVar(&f.out, "out", "", "a directory to write matrix.md and junit.xml to")
	flag.BoolVar(&f.gates, "gates", false, "start nothing: only name what the contract has and no case tries")
	flag.BoolVar(&f.broken, "broken", true, "check that the broken drivers are caught")
	flag.IntVar(&f.jobs, "jobs", 2, "how many drivers run at once")
	f.drivers = drivers()
	flag.Func("driver", "NAME=COMMAND: judge this driver too, or instead of the one that has the name", func(text string) error {
		name, command, found := strings.Cut(text, "=")
		if !found {
			return errors.New("want NAME=COMMAND")
		}
		f.drivers[name] = strings.Fields(command)
		return nil
	})
	flag.Parse()
	f.sdks, f.databases, f.texts = list(sdks), list(databases), list(texts)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	failed, err := run(ctx, f)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	if failed {
		os.Exit(1)
	}
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func run(ctx context.Context, f flags) (failed bool, err error) {
	contract, err := wire.LoadContract(f.spec)
	if err != nil {
		return false, err
	}
	all, err := cases.Load(filepath.Join(folder, "cases"))
	if err != nil {
		return false, err
	}
	if f.gates {
		return static(contract, all), nil
	}
	selected := cases.Select(all, f.texts)
	if len(selected) == 0 {
		return false, errors.New("no case matches -run")
	}
	w, err := newWorld(ctx, f, contract)
	if err != nil {
		return false, err
	}
	defer w.close()
	r, err := w.judge(ctx, all, selected)
	if err != nil {
		return false, err
	}
	r.Failures(os.Stdout)
	fmt.Println()
	r.Matrix(os.Stdout)
	if err := write(f.out, r); err != nil {
		return false, err
	}
	passed, failures, skipped := r.Totals()
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", passed, failures, skipped)
	return failures > 0, nil
}

// static is the gate that needs no run.
func static(contract *wire.Contract, all []*cases.Case) bool {
	missing := gate.Missing(contract.Document, all)
	for _, finding := range missing {
		fmt.Println(finding)
	}
	fmt.Printf("%d missing\n", len(missing))
	return len(missing) > 0
}

func write(dir string, r *report.Run) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	matrix, err := os.Create(filepath.Join(dir, "matrix.md"))
	if err != nil {
		return err
	}
	r.Matrix(matrix)
	junit, err := os.Create(filepath.Join(dir, "junit.xml"))
	if err != nil {
		return errors.Join(err, matrix.Close())
	}
	return errors.Join(matrix.Close(), r.JUnit(junit), junit.Close())
}
