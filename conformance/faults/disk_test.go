package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/postgres"
	"github.com/marque-id/marque/conformance/server"
)

// smallDisk is a file system of its own with so many MiB, or "" where this user
// may not mount one: then the row says so.
func smallDisk(t *testing.T, fault, database string, size int) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "marque-disk-") // a short path: PostgreSQL's socket is below it
	must(t, err)
	t.Cleanup(func() { _ = os.Remove(dir) })
	if err := syscall.Mount("marque", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=755", size)); err != nil {
		report(t, fault, database, true, "", "not run: this user may not mount a disk of its own (%v)", err)
		return ""
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill leaves no room on the disk until the file it names is removed.
func fill(t *testing.T, disk string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(disk, "ballast")
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(t, err)
	defer func() { _ = f.Close() }()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return ballast
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// hurt keeps all agents busy while a fault lasts, asks for what only reads
// beside them, and tells what was answered. The fault ends with it.
func hurt(ctx context.Context, t *testing.T, s *server.Server, f *fleet, length time.Duration) (writes, reads *shots) {
	t.Helper()
	writes, reads = &shots{}, &shots{}
	working, rest := context.WithTimeout(ctx, length)
	defer rest()
	note := func(to *shots, began time.Time, err error) {
		a := answer{status: http.StatusOK}
		if refusal := new(server.Refusal); errors.As(err, &refusal) {
			a, err = answer{status: refusal.Status, retryAfter: refusal.Header.Get("Retry-After") != ""}, nil
		}
		to.note(a, time.Since(began), err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; working.Err() == nil; n++ {
			began := time.Now()
			if n%2 == 0 {
				note(writes, began, f.create(ctx, fmt.Sprintf("pinched-%d", time.Now().UnixNano())))
			} else {
				note(writes, began, f.token(ctx, f.agents[n%len(f.agents)]))
			}
		}
	}()
	for n := 0; working.Err() == nil; n++ {
		path := []string{"/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/v1/service-accounts/" + f.agents[0].id}[n%3]
		began := time.Now()
		note(reads, began, s.Call(ctx, f.admin, http.MethodGet, path, nil, nil))
		time.Sleep(2 * time.Millisecond)
	}
	<-done
	return writes, reads
}

// TestDiskFull takes away all room on the disk of the database under load and
// gives it back: writes are refused meanwhile, reads are not, nothing that was
// acknowledged is lost, and it recovers by itself.
func TestDiskFull(t *testing.T) {
	shortCut(t)
	const fault, target = "disk full", "writes 503, reads 200, nothing lost, recovers by itself"
	length := inFull(10*time.Second, 2*time.Second)
	judge := func(t *testing.T, database string, s *server.Server, o server.Options, f *fleet, disk string, mend func()) {
		ctx := t.Context()
		ballast := fill(t, disk)
		writes, reads := hurt(ctx, t, s, f, length)
		must(t, os.Remove(ballast))
		mend()
		back := eventually(t, 20*time.Second, "it serves again", func() error { return serves(ctx, s, f) })
		found := compare(ctx, t, s, f, 1)
		verify(t, s)
		whole := "ok"
		if database == sqlite {
			must(t, sqliteFile(t, o).QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&whole))
		}
		if !writes.only(200, 201, 503) || !reads.only(200) || found != (differences{}) || whole != "ok" || writes.statuses[503] == 0 {
			t.Errorf("with a full disk: writes %v, reads %v, %v, integrity %s", writes, reads, found, whole)
		}
		report(t, fault, database, writes.only(200, 503) && writes.statuses[503] > 0 && reads.only(200) && found.none() && whole == "ok" && back <= 5*time.Second,
			target, "writes %v, reads %v; %v; integrity %s; serving %s after", writes, reads, found, whole, ms(back))
	}
	t.Run(sqlite, func(t *testing.T) {
		disk := smallDisk(t, fault, sqlite, 24)
		if disk == "" {
			return
		}
		o := options(t, "sqlite:"+filepath.Join(disk, "marque.db"))
		s := start(t, o)
		judge(t, sqlite, s, o, muster(t.Context(), t, s, writers), disk, func() {})
	})
	t.Run(postgreSQL, func(t *testing.T) {
		disk := smallDisk(t, fault, postgreSQL, 256)
		if disk == "" {
			return
		}
		cluster, database := ownCluster(t, disk)
		o := options(t, database)
		s := start(t, o)
		judge(t, postgreSQL, s, o, muster(t.Context(), t, s, writers), disk, func() { revive(t, cluster) })
	})
}

// revive starts a PostgreSQL that has given up for want of room: that is its
// operator's to do. Marque is not touched.
func revive(t *testing.T, cluster *postgres.Cluster) {
	t.Helper()
	time.Sleep(time.Second)
	if !cluster.Running() {
		t.Log("PostgreSQL has ended by itself; it is started again")
		must(t, cluster.Resume(t.Context()))
	}
}

// TestDatabaseReadOnly lets PostgreSQL take no writes, which is what a standby
// does that a node ends up at, and gives SQLite a disk that is mounted
// read-only at the start, which the server must say and not start on.
func TestDatabaseReadOnly(t *testing.T) {
	shortCut(t)
	const fault = "database read-only"
	length := inFull(10*time.Second, time.Second)
	t.Run(postgreSQL, func(t *testing.T) {
		cluster, database := ownCluster(t, "")
		s := start(t, options(t, database))
		ctx := t.Context()
		f := muster(ctx, t, s, writers)
		must(t, cluster.Exec(ctx, database, "ALTER SYSTEM SET default_transaction_read_only = on"))
		must(t, cluster.Exec(ctx, database, "SELECT pg_reload_conf()"))
		time.Sleep(200 * time.Millisecond)
		writes, reads := hurt(ctx, t, s, f, length)
		must(t, cluster.Exec(ctx, database, "ALTER SYSTEM RESET default_transaction_read_only"))
		must(t, cluster.Exec(ctx, database, "SELECT pg_reload_conf()"))
		back := eventually(t, 20*time.Second, "it serves again", func() error { return serves(ctx, s, f) })
		found := compare(ctx, t, s, f, 1)
		verify(t, s)
		if !writes.only(503) || !reads.only(200) {
			t.Errorf("read-only: writes %v, reads %v", writes, reads)
		}
		report(t, fault, postgreSQL, writes.only(503) && reads.only(200) && found.none() && back <= 5*time.Second,
			"writes 503, reads 200, recovers by itself", "writes %v, reads %v; %v; serving %s after", writes, reads, found, ms(back))
	})
	t.Run(sqlite, func(t *testing.T) {
		disk := smallDisk(t, fault, sqlite, 24)
		if disk == "" {
			return
		}
		o := options(t, "sqlite:"+filepath.Join(disk, "marque.db"))
		s := start(t, o)
		f := muster(t.Context(), t, s, 1)
		must(t, s.Stop())
		must(t, syscall.Mount("marque", disk, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		started, err := server.Start(t.Context(), o)
		if err == nil {
			started.Kill()
		}
		named := err != nil && strings.Contains(strings.ToLower(err.Error()), "read-only")
		must(t, syscall.Mount("marque", disk, "tmpfs", syscall.MS_REMOUNT, ""))
		s = start(t, o)
		f.current.Store(s)
		works := serves(t.Context(), s, f)
		if err == nil || works != nil {
			t.Errorf("started on a read-only disk: %t; afterwards: %v", err == nil, works)
		}
		report(t, fault+" at start", sqlite, named && works == nil, "refuses to start and says why", "refused: %t, says why: %t, starts when writable: %t", err != nil, named, works == nil)
	})
}
