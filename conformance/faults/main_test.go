// Package faults breaks a running Marque from outside and looks at what is left:
// the real binary, real TLS, a real database, loopback only.
//
// `make test` runs a short cut of every row and holds Marque to what must never
// happen. `make faults` runs them in full, prints each figure beside its target,
// and also fails where a time or a rate falls short.
package faults

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/server"
)

var (
	full  = flag.Bool("full", false, "run every row in full length and fail where a figure falls short")
	kills = flag.Int("kills", 0, "how often the server is killed; 0 is 200 in full, else 8")
)

// built is the directory of the binary under test, removed at the end.
var built struct {
	sync.Once
	dir, path string
	err       error
}

func TestMain(m *testing.M) {
	if os.Getenv(apartVariable) != "" {
		if err := callApart(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if *full {
		fmt.Printf(rowFormat, "fault", "database", "", "figure", "target")
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// binary is the marque binary under test: $MARQUE_BINARY, or one built now.
func binary(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("MARQUE_BINARY"); path != "" {
		return path
	}
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "marque-faults-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "marque")
		if out, err := exec.Command("go", "build", "-o", built.path, "../../server").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("build: %w\n%s", err, out)
		}
	})
	must(t, built.err)
	return built.path
}

// inFull is the first in `make faults`, the second in `make test`.
func inFull[T any](long, short T) T {
	if *full {
		return long
	}
	return short
}

// shortCut runs a test beside another one, unless its figures count.
func shortCut(t *testing.T) {
	t.Helper()
	if !*full {
		t.Parallel()
	}
}

const (
	sqlite     = "SQLite"
	postgreSQL = "PostgreSQL"
	rowFormat  = "%-30s %-10s %-5s  %-88s  %s\n"
)

// report is one row of the table: a figure, and whether it reaches its target.
// A time or a rate that falls short fails the run in full only: the short cut
// shares its machine with other tests.
func report(t *testing.T, fault, database string, ok bool, target, figure string, args ...any) {
	t.Helper()
	verdict, figure := "ok", fmt.Sprintf(figure, args...)
	if !ok {
		verdict = "SHORT"
	}
	if *full {
		fmt.Printf(rowFormat, fault, database, verdict, figure, target)
		if !ok {
			t.Errorf("%s on %s falls short: %s; the target: %s", fault, database, figure, target)
		}
		return
	}
	t.Logf("%s, %s: %s; %s (target: %s)", fault, database, verdict, figure, target)
}

// onBoth runs a fault on SQLite and on PostgreSQL, one after the other.
func onBoth(t *testing.T, fn func(t *testing.T, database string, o server.Options)) {
	t.Run(sqlite, func(t *testing.T) { fn(t, sqlite, options(t, "")) })
	t.Run(postgreSQL, func(t *testing.T) { fn(t, postgreSQL, options(t, postgres.Database(t))) })
}

// options are those of a server whose log is shown when the test fails.
func options(t *testing.T, database string) server.Options {
	t.Helper()
	o := server.Options{Binary: binary(t), Dir: t.TempDir(), Database: database, Env: server.Unlimited()}
	o.Env["MARQUE_TOKENS_LIFETIME"] = "2h" // the operator's token lasts as long as the test
	t.Cleanup(func() {
		if log := serverLog(t, o); t.Failed() {
			t.Logf("the end of the server's log:\n%s", log[max(0, len(log)-inFull(1500, 4000)):])
		}
	})
	return o
}

func serverLog(t *testing.T, o server.Options) []byte {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(o.Dir, "server.log"))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	return log
}

// start starts a server that is killed when the test ends, if not before.
func start(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	s, err := server.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(s.Kill)
	return s
}

// verify proves the audit log from outside.
func verify(t *testing.T, s *server.Server) string {
	t.Helper()
	report, err := s.Command(t.Context(), "audit", "verify")
	if err != nil {
		t.Errorf("the audit log does not verify: %v", err)
	}
	return report
}

// eventually tries until it works and tells how long that took, or fails.
func eventually(t *testing.T, within time.Duration, what string, try func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := try()
		took := time.Since(began)
		if err == nil {
			return took
		}
		if took > within {
			t.Errorf("%s: not within %v: %v", what, within, err)
			return took
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
