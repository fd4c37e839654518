package faults

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/marque-id/marque/conformance/server"
)

// TestMasterKeyRotatedUnderLoad rotates the master key again and again while
// every agent asks for tokens, on all nodes, and kills each step with SIGKILL at
// random moments before it may run to its end. No request fails; in the end
// every row opens under the newest version, and nothing needs another one.
func TestMasterKeyRotatedUnderLoad(t *testing.T) {
	shortCut(t)
	rounds, cuts, old := inFull(12, 2), inFull(8, 3), inFull(400, 200)
	onBoth(t, func(t *testing.T, database string, o server.Options) {
		ctx := t.Context()
		must(t, server.Install(ctx, o))
		addRevokedKeys(ctx, t, o, old) // several transactions for each rotation
		nodes := []server.Options{o}
		if database == postgreSQL {
			other, err := server.Beside(ctx, o, t.TempDir())
			must(t, err)
			nodes = append(nodes, other)
		}
		servers := startAll(t, nodes)
		f := muster(ctx, t, servers[0], writers)
		warm(t, servers, f)
		load := f.onAll(ctx, servers)

		r := &rotation{server: servers[0], rows: reach(t, o), took: 100 * time.Millisecond}
		for range rounds {
			if database == postgreSQL {
				r.prepare(ctx, t, cuts)
				r.copyTo(t, nodes[1:])
			}
			r.rotate(ctx, t, cuts)
		}
		answers, failed, busy := load.end()

		// Every row is under the newest version, which alone is left in the files.
		masters := masterKeys(t, o)
		newest := 0
		for version := range masters {
			newest = max(newest, version)
		}
		if _, err := os.Stat(filepath.Join(o.Dir, "master.key.tmp")); !os.IsNotExist(err) {
			t.Errorf("a half-written file is left: %v", err)
		}
		text, err := os.ReadFile(filepath.Join(o.Dir, "master.key"))
		must(t, err)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, fmt.Sprintf("v%d:", newest)) })
		behind := 0
		for _, s := range servers {
			s.Kill()
		}
		for _, node := range nodes {
			must(t, os.WriteFile(filepath.Join(node.Dir, "master.key"), []byte(lines[at]+"\n"), 0o600))
		}
		alone := masterKeys(t, o)
		rows := sealedRows(t, reach(t, o))
		for _, row := range rows {
			if _, err := row.open(alone); err != nil || row.version != newest {
				t.Errorf("%s %s is under version %d: %v", row.purpose, row.id, row.version, err)
				behind++
			}
		}
		if len(rows) != old+4 {
			t.Errorf("%d sealed rows, there were %d", len(rows), old+4)
		}
		servers = startAll(t, nodes)
		for _, s := range servers {
			for _, a := range f.agents {
				_, err := s.Token(ctx, a.id, a.secret, "")
				must(t, err)
			}
			must(t, s.Call(ctx, f.admin, "GET", "/v1/whoami", nil, nil)) // a token from before
		}
		verify(t, servers[0])
		if wrapped := r.recorded(ctx, t, servers[0], f); wrapped < rounds*(old+4) {
			t.Errorf("%d rows are recorded as wrapped, in %d rotations of %d rows", wrapped, rounds, old+4)
		}
		if failed > 0 || answers < rounds || r.killed == 0 {
			t.Errorf("%d of %d requests failed, %d kills; the first: %v", failed, answers, r.killed, load.first.Load())
		}
		report(t, "master key rotated", database, failed+busy+behind == 0, "0 failed requests, every row under the new key alone",
			"%d failed of %d tokens on %d node(s); %d rotations, %d kill -9 (%d between two commits); %d rows, %d not under v%d; slowest run %s",
			failed+busy, answers, len(nodes), rounds, r.killed, r.between, len(rows), behind, newest, ms(r.slowest))
	})
}

func startAll(t *testing.T, nodes []server.Options) (all []*server.Server) {
	t.Helper()
	for _, node := range nodes {
		all = append(all, start(t, node))
	}
	return all
}

// warm makes every node know every agent, so that what is counted later is not
// the slowness of a first request.
func warm(t *testing.T, servers []*server.Server, f *fleet) {
	t.Helper()
	for _, s := range servers {
		for _, a := range f.agents {
			eventually(t, 20*time.Second, "the first token", func() error {
				_, err := s.Token(t.Context(), a.id, a.secret, "")
				return err
			})
		}
	}
}

// load is what goes on while something else is done.
type load struct {
	rest            context.CancelFunc
	wait            sync.WaitGroup
	answered, wrong atomic.Int64
	busy            atomic.Int64 // told to come again: 503
	first           atomic.Value
}

// onAll lets every agent ask all nodes in turn.
func (f *fleet) onAll(ctx context.Context, servers []*server.Server) *load {
	l := &load{}
	ctx, l.rest = context.WithCancel(ctx)
	for n, a := range f.agents {
		l.wait.Go(func() {
			for step := n; ctx.Err() == nil; step++ {
				_, err := servers[step%len(servers)].Token(ctx, a.id, a.secret, "")
				switch {
				case ctx.Err() != nil: // cut off by the end
				case err == nil:
					l.answered.Add(1)
				case unavailable(err):
					l.busy.Add(1)
				default:
					l.wrong.Add(1)
					l.first.CompareAndSwap(nil, err.Error())
				}
			}
		})
	}
	return l
}

func (l *load) end() (answers, failed, busy int) {
	l.rest()
	l.wait.Wait()
	return int(l.answered.Load()), int(l.wrong.Load()), int(l.busy.Load())
}

// rotation runs the steps of rotations and kills them.
type rotation struct {
	server          *server.Server
	rows            *sql.DB
	took, slowest   time.Duration // the last run to the end, and the slowest
	killed, between int
}

func (r *rotation) prepare(ctx context.Context, t *testing.T, cuts int) {
	t.Helper()
	r.cut(ctx, t, cuts, "master-key", "rotate", "--prepare")
	_, err := r.server.Command(ctx, "master-key", "rotate", "--prepare")
	must(t, err)
}

func (r *rotation) rotate(ctx context.Context, t *testing.T, cuts int) {
	t.Helper()
	r.cut(ctx, t, cuts, "master-key", "rotate")
	began := time.Now()
	said, err := r.server.Command(ctx, "master-key", "rotate")
	must(t, err)
	if strings.Contains(said, "rotated") {
		r.took = time.Since(began)
		r.slowest = max(r.slowest, r.took)
	}
}

// cut starts a step and kills it: at a random moment, or as soon as a part of the
// rows is seen to be wrapped. After each everything opens with the file as it is
// now.
func (r *rotation) cut(ctx context.Context, t *testing.T, times int, step ...string) {
	t.Helper()
	for n := range times {
		c := r.server.Prepared(ctx, step...)
		must(t, c.Start())
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		over := r.moment(ctx, t, ended, n%2 == 0 && r.parts(ctx, t) == 1)
		if !over {
			_ = c.Process.Signal(syscall.SIGKILL)
			if <-ended != nil {
				r.killed++
			}
		}
		said, err := r.server.Command(ctx, "master-key", "check")
		if err != nil {
			t.Errorf("after a kill: %v", err)
		}
		if strings.Count(said, "sealed under") > 1 {
			r.between++
		}
	}
}

// moment waits until the step is to be killed, and is true when it has ended
// before.
func (r *rotation) moment(ctx context.Context, t *testing.T, ended chan error, watching bool) (over bool) {
	t.Helper()
	random := time.After(rand.N(r.took))
	if watching {
		random = nil
	}
	for {
		select {
		case err := <-ended:
			must(t, err)
			return true
		case <-random:
			return false
		case <-time.After(time.Millisecond):
			if watching && r.parts(ctx, t) > 1 {
				return false
			}
		}
	}
}

// parts is under how many versions rows are sealed.
func (r *rotation) parts(ctx context.Context, t *testing.T) (n int) {
	t.Helper()
	must(t, r.rows.QueryRowContext(ctx, "SELECT COUNT(DISTINCT master_version) FROM signing_keys").Scan(&n))
	return n
}

// copyTo gives the file to the other nodes.
func (r *rotation) copyTo(t *testing.T, nodes []server.Options) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.server.Dir(), "master.key"))
	must(t, err)
	for _, node := range nodes {
		must(t, os.WriteFile(filepath.Join(node.Dir, "master.key"), text, 0o600))
	}
}

// recorded is how many rows all events of rotations name together.
func (r *rotation) recorded(ctx context.Context, t *testing.T, s *server.Server, f *fleet) (rows int) {
	t.Helper()
	for _, e := range list[struct {
		Type    string            `json:"type"`
		Details map[string]string `json:"details"`
	}](ctx, t, s, f.admin, "/v1/audit-events") {
		if e.Type == "master_key.rotated" {
			n, err := strconv.Atoi(e.Details["rows"])
			must(t, err)
			rows += n
		}
	}
	return rows
}
