package store_test

import (
	"context"
	"database/sql"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

func contextFor(t testing.TB) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), 400*time.Millisecond)
}

// blackHole stands between a store and its server. While it is closed, bytes
// go in and nothing comes out; no connection breaks.
type blackHole struct {
	net.Listener
	mu     sync.Mutex
	open   *sync.Cond
	closed bool
}

func newBlackHole(t *testing.T, url string) (b *blackHole, through string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b = &blackHole{Listener: l}
	b.open = sync.NewCond(&b.mu)
	socket := testkit.PostgresSocket(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", socket)
			if err != nil {
				_ = c.Close()
				continue
			}
			go b.relay(server, c)
			go b.relay(c, server)
		}
	}()
	t.Cleanup(func() { b.set(false); _ = l.Close() })
	name := url[strings.Index(url, "@")+1 : strings.Index(url, "?")]
	return b, "postgres://marque@" + l.Addr().String() + name + "?sslmode=disable"
}

func (b *blackHole) set(closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = closed
	b.open.Broadcast()
}

func (b *blackHole) relay(to io.WriteCloser, from io.ReadCloser) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		b.mu.Lock()
		for b.closed {
			b.open.Wait()
		}
		b.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func TestSilentDatabaseHoldsNobodyPastTheDeadline(t *testing.T) {
	t.Parallel()
	direct := testkit.Postgres(t)
	hole, url := newBlackHole(t, direct)
	elapsed := testkit.Clock(t)
	s := testkit.OpenWith(t, store.Options{URL: url, Clock: clock.System(), Elapsed: elapsed})
	a := newAccount(t, s, "known")
	principal(t, s, a.ID)
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	hole.set(true)
	system := clock.System()
	for name, call := range map[string]func(ctx context.Context) error{
		"unknown account": func(ctx context.Context) error { _, err := s.Principal(ctx, account("x").ID); return err },
		"transaction": func(ctx context.Context) error {
			return s.InTx(ctx, func(tx *store.Tx) error {
				tx.Audit(event(audit.AccountCreated))
				return tx.InsertServiceAccount(ctx, account("y"))
			})
		},
		"view": func(ctx context.Context) error {
			return s.View(ctx, func(r *store.Reader) error { _, err := r.ServiceAccount(ctx, a.ID); return err })
		},
		"decision": func(ctx context.Context) error { return s.Record(ctx, issuance(s, a.ID)) },
		"ready":    s.Ready,
		"maintain": func(ctx context.Context) error {
			return s.Maintain(ctx, func(m *store.Maintenance) error { return m.CleanUp(ctx) })
		},
	} {
		ctx, cancel := contextFor(t)
		began := system.Now()
		err := call(ctx)
		took := system.Since(began)
		cancel()
		if err == nil || fault.From(err).Kind != fault.KindUnavailable || fault.From(err).RetryAfter == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if took > 1500*time.Millisecond {
			t.Errorf("%s took %v with a deadline of 400 ms", name, took)
		}
	}
	principal(t, s, a.ID) // from memory, as always
	elapsed.Advance(6 * time.Second)
	if err := s.Fresh(); fault.From(err).Kind != fault.KindUnavailable {
		t.Errorf("revocations are said to be fresh: %v", err)
	}
	hole.set(false)
	eventually(t, 15*time.Second, "it recovers by itself", func() bool {
		elapsed.Advance(time.Second) // the pause before it connects again
		ctx, cancel := contextFor(t)
		defer cancel()
		return s.Record(ctx, issuance(s, "")) == nil && s.Ready(ctx) == nil
	})
	// A connection that was begun during the silence may fail only now, and its
	// error goes to whoever waits for one.
	eventually(t, 15*time.Second, "it is sound", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return s.Check(ctx) == nil
	})
}

func TestFailedWriteIsUnavailableAndLeavesReadsAlone(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.OpenWith(t, store.Options{URL: url, Clock: clock.System(), MaxConns: 1})
		a := newAccount(t, s, "before")
		stop, resume := "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"
		if s.Dialect() == "sqlite" {
			stop, resume = "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000" // as if the disk were full
		}
		if err := s.Exec(t.Context(), stop); err != nil {
			t.Fatal(err)
		}
		full := func() error {
			// A full disk is met when a page is needed: not by every write.
			for range 200 {
				big := account("after")
				big.Name, big.Description = big.ID[3:], strings.Repeat("x", 4000)
				if err := tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), big) }); err != nil {
					return err
				}
			}
			return nil
		}
		wantKind(t, full(), fault.KindUnavailable)
		record := func() (err error) {
			for n := 0; n < 50 && err == nil; n++ {
				err = s.Record(t.Context(), issuance(s, a.ID))
			}
			return err
		}
		wantKind(t, record(), fault.KindUnavailable)
		view(t, s, func(r *store.Reader) error { _, err := r.ServiceAccount(t.Context(), a.ID); return err })
		if err := s.Exec(t.Context(), resume); err != nil {
			t.Fatal(err)
		}
		newAccount(t, s, "recovered")
		if err := s.Record(t.Context(), issuance(s, a.ID)); err != nil {
			t.Error(err)
		}
		check(t, s)
	})
}

func TestNothingIsChangedOrIssuedWithoutAudit(t *testing.T) {
	t.Parallel()
	testkit.Databases(t, func(t *testing.T, url string) {
		s := testkit.Open(t, url, clock.System())
		a := newAccount(t, s, "before")
		sabotage, mend := []string{
			"CREATE TRIGGER no_audit BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no audit'); END",
		}, []string{"DROP TRIGGER no_audit"}
		if s.Dialect() == "postgres" {
			sabotage = []string{
				"CREATE FUNCTION no_audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no audit''; END'",
				"CREATE TRIGGER no_audit BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION no_audit()",
			}
			mend = []string{"DROP TRIGGER no_audit ON audit_events"}
		}
		run := func(queries []string) {
			for _, q := range queries {
				if err := s.Exec(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
		}
		run(sabotage)
		b := account("unrecorded")
		wantKind(t, tryWrite(t, s, func(tx *store.Tx) error { return tx.InsertServiceAccount(t.Context(), b) }), fault.KindUnavailable)
		wantKind(t, s.Record(t.Context(), issuance(s, a.ID)), fault.KindUnavailable)
		run(mend)
		_, err := s.Principal(t.Context(), b.ID)
		wantCode(t, err, fault.CodeNotFound)
		if err := s.Record(t.Context(), issuance(s, a.ID)); err != nil {
			t.Error(err)
		}
		check(t, s)
	})
}

func TestServerThatRestartsIsFoundAgain(t *testing.T) {
	t.Parallel()
	url := testkit.Postgres(t)
	s := testkit.Open(t, url, clock.System())
	a := newAccount(t, s, "kept")
	beside := testkit.Open(t, url, clock.System())
	// To a client, this is what a restart looks like.
	if err := beside.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "it serves again", func() bool { return s.Record(t.Context(), issuance(s, a.ID)) == nil })
	_, err := beside.Principal(t.Context(), a.ID)
	if err != nil {
		t.Error(err)
	}
	write(t, s, func(tx *store.Tx) error { _, err := tx.BumpGeneration(t.Context(), a.ID); return err })
	eventually(t, 2*time.Second, "the follower is back", func() bool { return principal(t, beside, a.ID).Account.Gen == 2 })
	check(t, s)
}

func TestRefusedConnectionIsUnavailable(t *testing.T) {
	t.Parallel()
	url := strings.Replace(testkit.Postgres(t), "?", "_that_is_not_there?", 1)
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.PingContext(t.Context())
	if err == nil {
		t.Fatal("connected to a database that is not there")
	}
	if f := fault.From(store.Translate(err)); f.Kind != fault.KindUnavailable || f.RetryAfter <= 0 {
		t.Errorf("%v became %v", err, f)
	}
}
