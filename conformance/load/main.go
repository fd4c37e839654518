// Command load measures Marque beside its limits: programs that do only what
// cannot be left out (conformance/load/limits), on the same TLS, with bodies of
// the same size, in the same run. It prints ratios; absolute figures belong to
// the machine. The server under test has one processor, this program and
// PostgreSQL have the other.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/server"
)

func main() {
	log.SetFlags(0)
	var b bench
	flag.StringVar(&b.binary, "marque", "bin/marque", "the binary to measure")
	flag.IntVar(&b.connections, "connections", 64, "connections that are kept busy")
	flag.IntVar(&b.rounds, "rounds", 3, "runs of what is measured; medians are printed")
	flag.DurationVar(&b.length, "length", 5*time.Second, "length of one run")
	flag.IntVar(&b.accounts, "accounts", 10_000, "accounts for the memory figure")
	flag.StringVar(&b.part, "part", "", "measure one part only: limits, rooms, stop or scale")
	flag.StringVar(&b.row, "row", "", "measure only rows whose title has this in it, of the part \"limits\"")
	flag.StringVar(&b.only, "database", "", "measure on one database only: SQLite or PostgreSQL")
	flag.IntVar(&b.fleetSize, "fleet", 1_000_000, "accounts for the figures of scale")
	flag.IntVar(&b.cache, "cache", 1_000_000, "cache.accounts for the figures of scale")
	flag.Parse()
	if err := onItsOwnProcessor(); err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := b.run(ctx); err != nil {
		stop()
		log.Fatal(err)
	}
}

// onItsOwnProcessor starts this program anew on the second processor, which
// everything that it starts inherits.
func onItsOwnProcessor() error {
	const done = "MARQUE_LOAD_PINNED"
	if os.Getenv(done) != "" {
		return nil
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return fmt.Errorf("pinning needs taskset (Debian's util-linux): %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(taskset, append([]string{"taskset", "-c", "1", self}, os.Args[1:]...), append(os.Environ(), done+"=1"))
}

type bench struct {
	binary      string
	connections int
	rounds      int
	length      time.Duration
	accounts    int
	part        string
	row         string
	only        string
	fleetSize   int
	cache       int
	oneRole     shot // of an account with one role, on the database at hand

	dir    string
	limits map[string]string // name → binary
}

func (b *bench) run(ctx context.Context) error {
	var err error
	if b.binary, err = filepath.Abs(b.binary); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "marque-load-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(b.dir) }()
	if err := b.buildLimits(ctx); err != nil {
		return err
	}
	cluster, err := postgres.Start(ctx)
	if err != nil {
		return err
	}
	defer cluster.Stop()

	fmt.Printf("%d connections, TLS 1.3 keep-alive, server on one processor\n\n", b.connections)
	for _, part := range []struct {
		name string
		run  func(context.Context, *postgres.Cluster) error
	}{{"limits", b.beside}, {"rooms", b.rooms}, {"stop", b.stopping}, {"scale", b.scaling}} {
		if b.part != "" && b.part != part.name {
			continue
		}
		if err := part.run(ctx, cluster); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// beside measures Marque beside its limits.
func (b *bench) beside(ctx context.Context, cluster *postgres.Cluster) error {
	fmt.Printf("limit and Marque in turn, %v each, %d times; the ratio is the median of theirs, and half of theirs are in between\n", turn, b.turns())
	fmt.Printf("%-44s %10s %10s %7s %9s %9s   %s\n", "", "limit/s", "marque/s", "ratio", "p50", "p99", "half of the ratios")
	return b.onBoth(func(database string) error { return b.database(ctx, cluster, database) })
}

func (b *bench) scaling(ctx context.Context, cluster *postgres.Cluster) error {
	fmt.Printf("medians of %d runs of %v, of fleets twice as long\n", b.rounds, b.length)
	fmt.Printf("%-44s %10s %10s %7s %9s %9s\n", "", "", "marque/s", "ratio", "p50", "p99")
	return b.onBoth(func(database string) error { return b.scale(ctx, cluster, database) })
}

func (b *bench) onBoth(measure func(database string) error) error {
	for _, database := range []string{"SQLite", "PostgreSQL"} {
		if b.only != "" && b.only != database {
			continue
		}
		if err := measure(database); err != nil {
			return fmt.Errorf("%s: %w", database, err)
		}
	}
	return nil
}

// buildLimits builds the limit programs, which are part of this module.
func (b *bench) buildLimits(ctx context.Context) error {
	b.limits = map[string]string{}
	for _, name := range []string{"issuance", "echo"} {
		path := filepath.Join(b.dir, name)
		build := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/marque-id/marque/conformance/load/limits/"+name)
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
		b.limits[name] = path
	}
	return nil
}

// options are those of a server on a database of its own, to be kept busy by a
// few accounts.
func (b *bench) options(ctx context.Context, cluster *postgres.Cluster, database string) (o server.Options, err error) {
	o = server.Options{Binary: b.binary, CPU: 1, Env: server.Unlimited()}
	if o.Dir, err = os.MkdirTemp(b.dir, "server-"); err == nil && database == "PostgreSQL" {
		o.Database, err = cluster.Database(ctx)
	}
	return o, err
}

func (b *bench) database(ctx context.Context, cluster *postgres.Cluster, name string) error {
	o, err := b.options(ctx, cluster, name)
	if err != nil {
		return err
	}
	s, err := server.Start(ctx, o)
	if err != nil {
		return err
	}
	defer s.Kill()
	return b.measure(ctx, s, name)
}
