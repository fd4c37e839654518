// Package postgres starts a real PostgreSQL of one's own: a new cluster in a
// temporary directory, reached by a socket that only this user may open, gone
// when the program ends, however it ends. It needs the server's binaries and
// nothing else that is set up on the machine.
package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Cluster is a running server.
type Cluster struct {
	dir      string
	binaries string
	owner    *syscall.Credential // nil: the user of this process
	process  *exec.Cmd
	ended    chan struct{} // closed when process has ended
	will     io.Closer     // closing it stops the server and removes its files
	executed chan struct{}
	number   atomic.Int64

	templateOnce sync.Once
	template     string
	templateErr  error
}

// Start makes a cluster and starts it. Stop ends it and removes its files.
func Start(ctx context.Context) (*Cluster, error) {
	// The path of a socket may have 107 bytes, so it begins at the top.
	return startIn(ctx, "/tmp")
}

// StartIn is [Start] with the files in a new directory below parent, whose path
// is short; "" is where those of tests are.
func StartIn(ctx context.Context, parent string) (*Cluster, error) {
	if parent == "" {
		parent = quickest()
	}
	return startIn(ctx, parent)
}

func startIn(ctx context.Context, parent string) (*Cluster, error) {
	binaries, err := find()
	if err != nil {
		return nil, err
	}
	c := &Cluster{binaries: binaries}
	if c.dir, err = os.MkdirTemp(parent, "marque-pg-"); err != nil {
		return nil, err
	}
	if err := c.start(ctx); err != nil {
		_ = os.RemoveAll(c.dir)
		return nil, fmt.Errorf("postgres: %w", err)
	}
	return c, nil
}

// find looks where Debian keeps the server, then on the PATH.
func find() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) > 0 {
		slices.Sort(found)
		return filepath.Dir(found[len(found)-1]), nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("postgres: the server's binaries are missing; on Debian: apt-get install postgresql")
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.chooseOwner(); err != nil {
		return err
	}
	if out, err := c.command(ctx, "initdb", "--no-sync", "--auth=trust", "--username=marque", "--encoding=UTF8", "--locale=C", c.path("data")).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := c.launch(); err != nil {
		return err
	}
	if err := c.leaveWill(); err != nil {
		_ = c.process.Process.Kill()
		return err
	}
	if err := c.awaitReady(ctx); err != nil {
		c.Stop()
		return err
	}
	return nil
}

// launch starts the server on the files that are there.
func (c *Cluster) launch() error {
	log, err := os.OpenFile(c.path("log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// Durability stays as an operator has it: fsync and synchronous_commit are on.
	process := c.command(context.Background(), "postgres", "-D", c.path("data"), "-k", c.dir,
		"-c", "listen_addresses=", "-c", "max_connections=300", "-c", "shared_buffers=64MB", "-c", "max_parallel_workers_per_gather=0",
		"-c", "autovacuum_naptime=10min", "-c", "dynamic_shared_memory_type=mmap")
	process.Stdout, process.Stderr = log, log
	if err := process.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	c.process, c.ended = process, ended
	go func() {
		_ = process.Wait()
		close(ended)
	}()
	return nil
}

// Crash ends the server at once, as a power cut would end it but for the disk:
// nothing is written any more, and nobody is told. Resume starts it again.
func (c *Cluster) Crash() {
	_ = c.process.Process.Signal(syscall.SIGQUIT)
	<-c.ended
}

// Running reports whether the server has not ended.
func (c *Cluster) Running() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// Resume starts a server that has ended and waits until it takes connections.
func (c *Cluster) Resume(ctx context.Context) error {
	if err := c.launch(); err != nil {
		return err
	}
	return c.awaitReady(ctx)
}

// leaveWill starts a shell that waits for the end of this program, which it
// sees as the end of its input, and then stops the server and removes its
// files: a program that is killed leaves nothing behind either.
func (c *Cluster) leaveWill() error {
	heir := exec.Command("/bin/sh", "-c",
		`read -r _; read -r p _ 2>/dev/null <"$1/data/postmaster.pid" || p=
if [ -n "$p" ]; then kill -INT "$p" 2>/dev/null; n=0
while kill -0 "$p" 2>/dev/null; do sleep 0.1; n=$((n+1)); [ $n -ne 100 ] || kill -QUIT "$p"; done; fi; rm -rf "$1"`,
		"sh", c.dir)
	heir.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var err error
	if c.will, err = heir.StdinPipe(); err != nil {
		return err
	}
	if err := heir.Start(); err != nil {
		return err
	}
	c.executed = make(chan struct{})
	go func() {
		_ = heir.Wait()
		close(c.executed)
	}()
	return nil
}

// chooseOwner picks an unprivileged user when this one is root, which the
// server refuses to run as, and gives the directory to that user.
func (c *Cluster) chooseOwner() error {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		c.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(c.dir, int(uid), int(gid))
	}
	return errors.New("this process is root and there is neither a user postgres nor nobody to run the server as")
}

func (c *Cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(c.binaries, name), args...)
	command.Dir = "/"
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	// A session of its own: the interrupt key is for this program, which then stops the server.
	command.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner, Setsid: true}
	return command
}

func (c *Cluster) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if err := c.sql(ctx, "SELECT 1"); err == nil {
			return nil
		}
		select {
		case <-c.ended:
			log, _ := os.ReadFile(c.path("log"))
			return fmt.Errorf("the server ended at once:\n%s", log)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Cluster) sql(ctx context.Context, statement string) error {
	return c.sqlIn(ctx, "postgres", statement)
}

// Exec runs statements in a database of this cluster, as its owner and past
// every program that uses it.
func (c *Cluster) Exec(ctx context.Context, database, statements string) error {
	u, err := url.Parse(database)
	if err != nil {
		return err
	}
	return c.sqlIn(ctx, u.Path[1:], statements)
}

// Dump is everything in a database, as text.
func (c *Cluster) Dump(ctx context.Context, database string) ([]byte, error) {
	u, err := url.Parse(database)
	if err != nil {
		return nil, err
	}
	return c.command(ctx, "pg_dump", "-h", c.dir, "-U", "marque", "--inserts", u.Path[1:]).Output()
}

func (c *Cluster) sqlIn(ctx context.Context, name, statement string) error {
	command := c.command(ctx, "psql", "-h", c.dir, "-U", "marque", "-d", name, "-qXAt", "-v", "ON_ERROR_STOP=1", "-c", statement)
	var out bytes.Buffer
	command.Stderr = &out
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", statement, err, out.String())
	}
	return nil
}

// Database creates an empty database and returns its URL.
func (c *Cluster) Database(ctx context.Context) (string, error) { return c.create(ctx, "") }

// Copy creates a database that is a copy of another one of this cluster, which
// nobody may be connected to.
func (c *Cluster) Copy(ctx context.Context, from string) (string, error) {
	u, err := url.Parse(from)
	if err != nil {
		return "", err
	}
	return c.create(ctx, " TEMPLATE "+u.Path[1:])
}

// Template is the URL of a database that fill has filled once, to be copied.
func (c *Cluster) Template(ctx context.Context, fill func(url string) error) (string, error) {
	c.templateOnce.Do(func() {
		if c.template, c.templateErr = c.Database(ctx); c.templateErr == nil {
			c.templateErr = fill(c.template)
		}
	})
	return c.template, c.templateErr
}

func (c *Cluster) create(ctx context.Context, template string) (string, error) {
	name := fmt.Sprintf("marque_%d", c.number.Add(1))
	if err := c.sql(ctx, "CREATE DATABASE "+name+template); err != nil {
		return "", err
	}
	return fmt.Sprintf("postgres://marque@/%s?host=%s", name, url.QueryEscape(c.dir)), nil
}

// Drop removes a database of this cluster and ends its connections.
func (c *Cluster) Drop(ctx context.Context, database string) error {
	u, err := url.Parse(database)
	if err != nil {
		return err
	}
	return c.sql(ctx, "DROP DATABASE IF EXISTS "+u.Path[1:]+" WITH (FORCE)")
}

// Socket is the path of the server's socket, for a proxy in front of it.
func (c *Cluster) Socket() string { return c.path(".s.PGSQL.5432") }

// Dir is the directory of all its files.
func (c *Cluster) Dir() string { return c.dir }

// Log is the path of the file that the server logs to.
func (c *Cluster) Log() string { return c.path("log") }

// Stop ends the server at once and removes its files.
func (c *Cluster) Stop() {
	_ = c.will.Close()
	<-c.executed
	<-c.ended
}

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

// shared is the cluster of one test binary: starting one takes two seconds, a
// database in it a few milliseconds. It ends with the binary.
var shared struct {
	sync.Mutex
	cluster *Cluster
}

// Shared is a cluster that the tests of one binary share.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil {
		c, err := startIn(context.Background(), quickest())
		if err != nil {
			t.Fatal(err)
		}
		shared.cluster = c
	}
	return shared.cluster
}

// quickest is where the files of tests live: in memory where there is room.
// What survives the end of a process survives it there as well.
func quickest() string {
	const memory, wanted = "/dev/shm", 2 << 30
	var room syscall.Statfs_t
	if err := syscall.Statfs(memory, &room); err == nil && room.Bavail*uint64(room.Bsize) > wanted {
		return memory
	}
	return "/tmp"
}

// Database is the URL of a new, empty database for one test.
func Database(t testing.TB) string {
	t.Helper()
	u, err := Shared(t).Database(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return u
}
