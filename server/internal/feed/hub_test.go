package feed

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/audit"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
	"github.com/marque-id/marque/server/internal/testkit"
)

// stand is a hub on a store.
type stand struct {
	t     *testing.T
	clock *clock.Fake
	store *store.Store
	hub   *Hub
}

func newStand(t *testing.T, o Options) *stand {
	t.Helper()
	s := &stand{t: t, clock: testkit.Clock(t)}
	s.store = testkit.OpenWith(t, store.Options{URL: testkit.SQLite(t), Clock: s.clock}, func(st *store.Store) {
		o.Store, o.Clock = st, s.clock
		s.hub = Open(o)
		t.Cleanup(s.hub.Close)
	})
	return s
}

func (s *stand) revoke(n int) {
	s.t.Helper()
	testkit.Change(s.t, s.store, audit.TokenRevoked, func(ctx context.Context, tx *store.Tx) error {
		for range n {
			if _, err := tx.RevokeToken(ctx, identity.NewID(identity.PrefixToken, tx.Now), "", "", tx.Now.Add(time.Hour)); err != nil {
				return err
			}
		}
		return nil
	})
}

// follow begins a stream from a position; the events that it has at once follow.
func (s *stand) follow(from int64, still func(context.Context) error) (*Follower, *bufio.Reader) {
	s.t.Helper()
	if still == nil {
		still = func(context.Context) error { return nil }
	}
	f, err := s.hub.Follow(s.t.Context(), Request{Account: "sa_x", ExpiresAt: s.clock.Now().Add(time.Hour), From: from, Still: still})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = f.Close() })
	return f, bufio.NewReader(f)
}

// next is the name of the next event, or a comment; "end" at the end.
func next(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF):
			return "end"
		case err != nil:
			t.Fatal(err)
		case strings.HasPrefix(line, ":"):
			return strings.TrimSpace(line)
		case strings.HasPrefix(line, "event: "):
			return strings.TrimSpace(line[len("event: "):])
		}
	}
}

func TestAPanicWhileTellingLosesNobody(t *testing.T) {
	t.Parallel()
	s := newStand(t, Options{})
	_, before := s.follow(-1, nil)
	if got := next(t, before); got != "hello" {
		t.Fatal(got)
	}
	at := s.store.Snapshot()
	s.hub.mu.Lock()
	s.hub.write = func(*store.Announced) []byte { panic("out of ink") }
	s.hub.mu.Unlock()
	s.revoke(1)
	// Whoever followed is sent away rather than left without the event …
	if got := next(t, before); got != "end" {
		t.Error(got)
	}
	if n := s.hub.Stats().Panics; n != 1 {
		t.Errorf("%d panics", n)
	}
	s.hub.mu.Lock()
	s.hub.write = revokedEvent
	s.hub.mu.Unlock()
	// … is told to take the snapshot, and the hub goes on.
	_, again := s.follow(at, nil)
	for _, want := range []string{"hello", "reset", "end"} {
		if got := next(t, again); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	_, fresh := s.follow(s.store.Snapshot(), nil)
	s.revoke(1)
	for _, want := range []string{"hello", "revoked"} {
		if got := next(t, fresh); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWhoIsOvertakenByTheRingIsCutOffAndGoesOn(t *testing.T) {
	t.Parallel()
	s := newStand(t, Options{Ring: 8})
	_, slow := s.follow(-1, nil)
	if got := next(t, slow); got != "hello" {
		t.Fatal(got)
	}
	at := s.store.Snapshot()
	s.revoke(3)
	middle := s.store.Snapshot()
	s.revoke(7)
	s.hub.settle()
	if got := next(t, slow); got != "end" {
		t.Errorf("it was given %s", got)
	}
	if n := s.hub.Stats().Slow; n != 1 {
		t.Errorf("%d slow ones", n)
	}
	_, lost := s.follow(at, nil)
	for _, want := range []string{"hello", "reset", "end"} {
		if got := next(t, lost); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	_, resumed := s.follow(middle, nil)
	for n := range 8 {
		want := "revoked"
		if n == 0 {
			want = "hello"
		}
		if got := next(t, resumed); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestNoHeartbeatWhereItCannotBeTold(t *testing.T) {
	t.Parallel()
	s := newStand(t, Options{})
	answer := make(chan error, 1)
	_, r := s.follow(-1, func(context.Context) error { return <-answer })
	if got := next(t, r); got != "hello" {
		t.Fatal(got)
	}
	for _, tc := range []struct {
		answer error
		want   string
	}{
		{nil, "heartbeat"},
		{fault.Unavailable(errors.New("away")), strings.TrimSpace(staleComment)},
		{nil, "heartbeat"},
		{fault.InsufficientScope("revocations:read"), "end"},
	} {
		answer <- tc.answer
		s.hub.beat()
		if got := next(t, r); got != tc.want {
			t.Errorf("with %v: %s", tc.answer, got)
		}
	}
}

func TestAPanicOfAStreamStaysInIt(t *testing.T) {
	t.Parallel()
	s := newStand(t, Options{})
	f, r := s.follow(-1, func(context.Context) error { panic("who is asking?") })
	if got := next(t, r); got != "hello" {
		t.Fatal(got)
	}
	s.hub.beat()
	if _, err := f.Read(make([]byte, 100)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

func TestWhatOneNodeRevokesTheOtherTellsWithinASecond(t *testing.T) {
	t.Parallel()
	url, system := testkit.Postgres(t), clock.System()
	var hubs [2]*Hub
	var stores [2]*store.Store
	for i := range hubs {
		stores[i] = testkit.OpenWith(t, store.Options{URL: url, Clock: system}, func(st *store.Store) {
			hubs[i] = Open(Options{Store: st, Clock: system})
			t.Cleanup(hubs[i].Close)
		})
	}
	f, err := hubs[1].Follow(t.Context(), Request{Account: "sa_x", ExpiresAt: system.Now().Add(time.Hour), From: -1,
		Still: func(context.Context) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	r := bufio.NewReader(f)
	if got := next(t, r); got != "hello" {
		t.Fatal(got)
	}
	here := &stand{t: t, store: stores[0]}
	for range 20 {
		began := system.Now()
		here.revoke(1)
		if got := next(t, r); got != "revoked" {
			t.Fatal(got)
		}
		if took := system.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
	}
	// A follower that knows more than the node it comes to is not sent away.
	far := stores[0].Snapshot()
	if known, err := hubs[1].known(t.Context(), far); err != nil || !known {
		t.Errorf("the position %d of the other node is not known: %v", far, err)
	}
	if known, err := hubs[1].known(t.Context(), far+1000); err != nil || known {
		t.Errorf("a position that nobody has reached is known: %v", err)
	}
}

// A node that may have missed something gives no snapshot: who took it would take
// itself to be up to date.
func TestANodeThatMayHaveMissedSomethingGivesNoSnapshot(t *testing.T) {
	t.Parallel()
	elapsed := testkit.Clock(t)
	var hub *Hub
	testkit.OpenWith(t, store.Options{URL: testkit.Postgres(t), Clock: testkit.Clock(t), Elapsed: elapsed}, func(st *store.Store) {
		hub = Open(Options{Store: st, Clock: testkit.Clock(t)})
		t.Cleanup(hub.Close)
	})
	if _, err := hub.Snapshot(""); err != nil {
		t.Fatal(err)
	}
	for range 100 { // the node reads on meanwhile, and may be quicker
		elapsed.Advance(6 * time.Second)
		if _, err := hub.Snapshot(""); err != nil {
			if fault.From(err).Kind != fault.KindUnavailable {
				t.Errorf("refused with %v", err)
			}
			return
		}
	}
	t.Error("a snapshot is given whatever the node has missed")
}
