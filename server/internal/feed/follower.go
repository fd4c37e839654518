package feed

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
)

// Request is what a follower asks for.
type Request struct {
	Account   string
	ExpiresAt time.Time // of its token
	Audience  string    // "": tokens for all
	From      int64     // the position to go on from; negative: what comes
	// Still says whether the caller may follow, as of now. It is asked with each
	// heartbeat; Unavailable is no answer.
	Still func(context.Context) error
}

// Follower is one stream of events, read by one goroutine. Read gives what there
// is and waits while there is nothing; it ends with io.EOF.
type Follower struct {
	hub     *Hub
	request Request
	expiry  clock.Timer
	close   sync.Once

	rest []byte // what the last Read had no room for
	done bool   // after rest
	next uint64 // the number of the event that comes next
	life uint64
	beat uint64
}

var (
	errFull    = errors.New("feed: as many follow as may")
	errClosing = errors.New("feed: the server stops")
)

// patience bounds the look at whether a caller may still follow.
const patience = time.Second

// Follow begins a stream.
func (h *Hub) Follow(ctx context.Context, r Request) (*Follower, error) {
	select {
	case <-h.closing:
		return nil, h.full(errClosing)
	default:
	}
	h.settle()
	known, err := h.known(ctx, r.From)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all >= h.options.Followers {
		return nil, h.full(errFull)
	}
	if h.followers[r.Account] >= h.options.PerAccount {
		return nil, fault.New(fault.KindLimited, fault.CodeRateLimited,
			"the account follows %d times already", h.options.PerAccount).After(h.options.Heartbeat)
	}
	f := &Follower{hub: h, request: r, life: h.life, beat: h.beats}
	switch {
	case r.From < 0:
		f.request.From, f.next = h.position, h.next
	case !known || r.From < h.floor:
		f.rest, f.done = resetEvents(h.position, h.options.Heartbeat, h.again()), true
	default:
		f.next = h.find(r.From)
	}
	if !f.done {
		f.rest = helloEvent(f.request.From, h.options.Heartbeat, h.again())
	}
	h.all++
	h.followers[r.Account]++
	f.expiry = h.options.Clock.NewTimer(r.ExpiresAt.Sub(h.options.Clock.Now()))
	return f, nil
}

// known reports whether the changes have reached a position, here or, a moment
// ago, on another node.
func (h *Hub) known(ctx context.Context, position int64) (bool, error) {
	if position <= h.options.Store.Snapshot() {
		return true, nil
	}
	return h.options.Store.Behind(ctx, position)
}

// Close gives the place back.
func (f *Follower) Close() error {
	f.close.Do(func() {
		f.expiry.Stop()
		h := f.hub
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all--
		if h.followers[f.request.Account]--; h.followers[f.request.Account] == 0 {
			delete(h.followers, f.request.Account)
		}
	})
	return nil
}

// Read gives whole events where p has room for them. It runs on the goroutine of
// the connection, where nobody else would catch a panic.
func (f *Follower) Read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			f.hub.mu.Lock()
			f.hub.caught(r)
			f.hub.mu.Unlock()
			n, err = 0, io.ErrUnexpectedEOF
		}
	}()
	for {
		if len(f.rest) > 0 {
			n = copy(p, f.rest)
			f.rest = f.rest[n:]
			return n, nil
		}
		if f.done {
			return 0, io.EOF
		}
		n, look, wake := f.fill(p)
		switch {
		case n > 0:
			return n, nil
		case f.done:
		case look != nil:
			f.pulse(*look)
		default:
			f.wait(wake)
		}
	}
}

// pulse is a heartbeat that is due, with what can be said in it.
type pulse struct{ position int64 }

// fill writes the events that come next, or says that a heartbeat is due, or
// what to wait for.
func (f *Follower) fill(p []byte) (n int, due *pulse, wake <-chan struct{}) {
	h := f.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.life != h.life || f.next < h.first {
		if f.life == h.life {
			h.counts.Slow++
		}
		f.done = true // comes back with its last position, and then gets what it has missed
		return 0, nil, nil
	}
	for f.next < h.next && len(f.rest) == 0 {
		e := &h.ring[f.next%uint64(len(h.ring))]
		if e.position > f.request.From && e.revoked.Concerns(f.request.Audience) {
			if n > 0 && len(e.text) > len(p)-n {
				return n, nil, nil
			}
			written := copy(p[n:], e.text)
			n, f.rest = n+written, e.text[written:] // shared, and never written to
		}
		f.next++
	}
	if n > 0 {
		return n, nil, nil
	}
	if f.beat != h.beats {
		f.beat = h.beats
		return 0, &pulse{h.position}, nil
	}
	return 0, nil, h.wake
}

// pulse asks whether the caller may go on, and says what is known by now.
func (f *Follower) pulse(due pulse) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := f.hub.options.Store.Fresh()
	if err == nil {
		err = f.request.Still(ctx)
	}
	switch {
	case err != nil && fault.From(err).Kind == fault.KindUnavailable:
		f.rest = []byte(staleComment)
	case err != nil:
		f.done = true
		f.hub.options.Log.Debug("a follower may follow no longer", slog.String("account", f.request.Account), slog.Any("error", err))
	case due.position < f.request.From:
		f.rest = []byte(behindComment)
	default:
		f.rest = heartbeatEvent(due.position)
	}
}

// wait returns when there is something to look at, or the stream has ended.
func (f *Follower) wait(wake <-chan struct{}) {
	select {
	case <-wake:
	case <-f.expiry.Chan():
		f.done = true
	case <-f.hub.closing:
		f.done = true
	}
}
