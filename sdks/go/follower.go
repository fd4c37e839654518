package marque

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// FollowConfig says how a [Follower] works. The zero FollowConfig is what most want.
type FollowConfig struct {
	// Audience is the identifier of the only API whose tokens are verified: tokens
	// that are revoked and known to be for others are then not told of. "" is all.
	Audience string
	// StaleAfter is for how long what is known counts without a heartbeat; 0 is 30 s.
	StaleAfter time.Duration
	// FailOpen has tokens accepted while what is known is stale: a stop then takes
	// effect only when the server can be reached again. Without it tokens are
	// refused for that time, with ReasonStale, which is a 503.
	FailOpen bool
}

// Follower knows what is revoked, by following Marque's feed of revocations: it
// takes a snapshot, then listens, and resumes where it was when the connection
// is lost. A token that is stopped is refused within a second, and no
// verification makes a call. Get one from [Client.FollowRevocations], give it to
// any number of verifiers as VerifierConfig.Revocations, and close it after them.
//
// It is stale before the first snapshot has come, after StaleAfter without a
// heartbeat, and when it is closed.
type Follower struct {
	client *Client
	config FollowConfig
	stop   context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	ready  chan struct{} // closed when the first snapshot is there

	revoked atomic.Pointer[revokedSet] // nil before the first snapshot
	heard   atomic.Pointer[time.Time]  // when it was last known to be up to date
	closed  atomic.Bool

	mu       sync.Mutex
	position string // of what is known
	failure  error  // of the last attempt; nil when it goes well

	// The rest belongs to the goroutine.
	anew     bool // the next round begins with a snapshot
	failures int  // in a row
}

// FollowerState is how well a [Follower] is doing.
type FollowerState struct {
	Position string    // in the order of all changes; "" before the first snapshot
	Heard    time.Time // when it was last known to be up to date
	Stale    bool
	Revoked  int   // how many revocations are held
	Err      error // why it is not connected, or was not accepted; nil when all is well
}

const defaultStaleAfter = 30 * time.Second

// FollowRevocations begins to follow what is revoked. The client's account needs
// the permission revocations:read. It returns at once: [Follower.Ready] waits.
//
//	followed := client.FollowRevocations(marque.FollowConfig{})
//	defer followed.Close()
//	verifier, err := marque.NewVerifier(marque.VerifierConfig{Revocations: followed})
func (c *Client) FollowRevocations(config FollowConfig) *Follower {
	if config.StaleAfter <= 0 {
		config.StaleAfter = defaultStaleAfter
	}
	ctx, stop := context.WithCancel(context.Background())
	f := &Follower{client: c, config: config, stop: stop, done: make(chan struct{}), ready: make(chan struct{}), anew: true}
	go f.run(ctx)
	return f
}

// Ready waits until it is known what is revoked. The error is that of the
// context, with the reason why nothing has come, or says that f is closed.
func (f *Follower) Ready(ctx context.Context) error {
	select {
	case <-f.ready:
		return nil
	default:
	}
	select {
	case <-f.ready:
		return nil
	case <-f.done:
		return misconfigured("the follower of revocations is closed")
	case <-ctx.Done():
		err := ended(opRevocationsSnapshot.id, ctx)
		if why := f.State().Err; why != nil {
			err.cause = errors.Join(err.cause, why)
			err.Detail += "; " + why.Error()
		}
		return err
	}
}

// Close ends the goroutine and its connection, and waits for that.
func (f *Follower) Close() {
	f.closed.Store(true)
	f.stop()
	<-f.done
}

// State tells how well it goes, for a health check.
func (f *Follower) State() FollowerState {
	f.mu.Lock()
	s := FollowerState{Position: f.position, Err: f.failure}
	f.mu.Unlock()
	if heard := f.heard.Load(); heard != nil {
		s.Heard = *heard
	}
	if revoked := f.revoked.Load(); revoked != nil {
		s.Revoked = revoked.size()
	}
	s.Stale = f.stale()
	return s
}

// Revoked reports whether a token is to be refused, because it is revoked or
// because that cannot be known. A [Verifier] tells the two apart.
func (f *Follower) Revoked(p *Principal) bool { return f.judge(p) != "" }

// judge is the reason to refuse a token, or "". What is known to be revoked
// stays so, however stale the rest is.
func (f *Follower) judge(p *Principal) Reason {
	revoked := f.revoked.Load()
	switch {
	case revoked != nil && revoked.stops(p):
		return ReasonRevoked
	case !f.config.FailOpen && f.stale():
		return ReasonStale
	default:
		return ""
	}
}

func (f *Follower) stale() bool {
	heard := f.heard.Load()
	if heard == nil || f.closed.Load() {
		return true
	}
	return f.since(*heard, f.client.config.Clock.Now())
}

// since reports whether what was so at a moment is stale by now. It looks at both
// clocks of the machine: one stands still while the machine sleeps, and the other
// can be set back.
func (f *Follower) since(at, now time.Time) bool {
	return max(now.Sub(at), now.Round(0).Sub(at.Round(0))) >= f.config.StaleAfter
}

func (f *Follower) hear(at time.Time) { f.heard.Store(&at) }

// run makes rounds until it is told to stop. It is the one goroutine of f.
func (f *Follower) run(ctx context.Context) {
	defer close(f.done)
	for {
		again, err := f.round(ctx)
		if ctx.Err() != nil {
			return
		}
		level := slog.LevelDebug
		if err != nil {
			f.failures++
			level, again = slog.LevelWarn, max(again, jitter(f.failures))
		} else {
			err = errEnded
		}
		f.mu.Lock()
		position := f.position
		if level == slog.LevelWarn {
			f.failure = err
		}
		f.mu.Unlock()
		f.client.log.LogAttrs(ctx, level, "marque revocations are not followed",
			slog.String("error", err.Error()), slog.String("position", position), slog.Int("failures", f.failures), slog.Duration("wait", again))
		if f.client.config.Clock.Sleep(ctx, again) != nil {
			return
		}
	}
}

// jitter is how long to wait after so many failures in a row: any time up to a
// limit that doubles from 0.5 s to 8 s, so that followers that were cut off
// together do not come back together.
func jitter(failures int) time.Duration {
	return mathrand.N(min(firstBackoff<<min(failures-1, 10), maxBackoff) + 1)
}

var (
	errEnded  = errors.New("the server has ended the stream")
	errSilent = errors.New("the stream brings no heartbeat")
	errReset  = errors.New("the server does not know the position that was reached any more")
)

// round takes a snapshot if one is due and follows until the stream ends. It
// returns after how long to come back. An error says that something is wrong; a
// stream that was alive and ends is nothing wrong.
func (f *Follower) round(ctx context.Context) (time.Duration, error) {
	if f.anew {
		if err := f.takeSnapshot(ctx); err != nil {
			return waitAsked(err), err
		}
		f.anew = false
	}
	s := &stream{Follower: f}
	err := s.follow(ctx)
	switch {
	case err == nil && s.expired():
		return 0, nil // the token has ended and the stream with it: there is another token
	case err == nil && s.alive:
		return min(s.retry, maxRetryAfter), nil
	case err == nil:
		return min(s.retry, maxRetryAfter), errEnded
	case errors.Is(err, errReset) && f.failures == 0:
		f.failures++ // the next one in a row waits
		f.client.log.LogAttrs(ctx, slog.LevelWarn, "marque revocations are read anew", slog.String("error", err.Error()))
		return f.round(ctx)
	default:
		return waitAsked(err), err
	}
}

// waitAsked is how long the server asks to be left alone.
func waitAsked(err error) time.Duration {
	if e, ok := errors.AsType[*Error](err); ok {
		return min(e.RetryAfter, maxRetryAfter)
	}
	return 0
}

func (f *Follower) takeSnapshot(ctx context.Context) error {
	began := f.client.config.Clock.Now()
	snapshot, err := f.client.Revocations.Snapshot(ctx, &RevocationsSnapshotParams{Audience: f.config.Audience}, WithRetries(0), withLimit(maxSnapshot))
	if err != nil {
		return err
	}
	first := f.revoked.Load() == nil
	set, err := snapshot.newSet(f.revoked.Load())
	if err != nil {
		return &Error{Kind: KindProtocol, Operation: opRevocationsSnapshot.id, Detail: "the snapshot is not whole", Retryable: true, cause: err}
	}
	set.forget(began)
	f.revoked.Store(set)
	f.moveTo(snapshot.Position)
	// The first one counts as a heartbeat, so that work can begin. A later one does
	// not: the node that gave it may have missed what others know.
	if first {
		f.hear(began)
		close(f.ready)
	}
	return nil
}

// maxSnapshot is room for two million revoked tokens, in bytes.
const maxSnapshot = 64 << 20

func (f *Follower) reached() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.position
}

func (f *Follower) moveTo(position string) {
	f.mu.Lock()
	f.position = position
	f.mu.Unlock()
}

func (f *Follower) params() url.Values {
	values := url.Values{}
	setParam(values, "audience", f.config.Audience)
	return values
}

// malformed is an event that cannot be understood: what it was to tell is not
// known, so that everything is read anew.
func malformed(e event, why string) error {
	name := e.name
	if len(name) > 32 {
		name = name[:32]
	}
	return &Error{Kind: KindProtocol, Operation: opRevocationsFeed.id, Detail: fmt.Sprintf("the event %q of the feed: %s", name, why), Retryable: true}
}
