package marque

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// stream is one connection to the feed.
type stream struct {
	*Follower
	token    *heldToken    // that opened it
	sent     string        // the position that it was to go on from
	welcomed bool          // hello has come, and goes on from there
	alive    bool          // a heartbeat has come
	at       time.Time     // of the last, or of the welcome
	retry    time.Duration // what the server asked for
	silence  time.Duration // without a heartbeat for so long it is given up
	watchdog *time.Timer
}

// follow opens the stream and applies what comes until it ends. nil means that
// the server has ended it in good order.
func (s *stream) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A connection may be dead without a word, and a node may be cut off from the
	// others: there is time to find another one before what is known is stale.
	s.silence = s.config.StaleAfter / 2
	s.watchdog = time.AfterFunc(s.silence, func() { cancel(errSilent) })
	defer s.watchdog.Stop()
	err := s.listen(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return errSilent
	}
	return err
}

func (s *stream) listen(ctx context.Context) error {
	body, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	events := newEventReader(body)
	for {
		e, err := events.next()
		s.retry = events.retry
		switch {
		case errors.Is(err, errEventTooLong):
			s.anew = true
			return malformed(e, err.Error())
		case err == io.EOF && s.welcomed:
			return nil
		case err != nil:
			return classify(err, s.client.root, s.silence)
		}
		if err := s.take(ctx, e); err != nil {
			return err
		}
	}
}

// open sends the request; a token that is refused is replaced once.
func (s *stream) open(ctx context.Context) (io.ReadCloser, error) {
	s.sent = s.reached()
	call, err := s.client.prepare(opRevocationsFeed, &input{query: s.params(), header: http.Header{"Last-Event-Id": {s.sent}}})
	if err != nil {
		return nil, err
	}
	call.header.Set("Accept", "text/event-stream, application/problem+json")
	call.header.Set("Accept-Encoding", "identity") // what is compressed on the way comes in lumps
	for attempt := 1; ; attempt++ {
		if s.token, err = s.client.management.acquire(ctx); err != nil {
			return nil, err
		}
		response, err := call.open(ctx, attempt, s.token)
		switch {
		case err == nil && response.mediaType != "text/event-stream":
			_ = response.body.Close()
			return nil, &Error{Kind: KindProtocol, Operation: call.op.id, Retryable: true,
				Detail: "the answer is no stream of events: look for a proxy in between"}
		case err == nil:
			return response.body, nil
		case err.Status != http.StatusUnauthorized || attempt > 1:
			return nil, err
		}
		s.client.management.drop(s.token)
	}
}

// take applies one event.
func (s *stream) take(ctx context.Context, e event) error {
	err := s.apply(ctx, e)
	if err != nil && err != errSilent {
		s.anew = true
	}
	return err
}

func (s *stream) apply(ctx context.Context, e event) error {
	switch e.name {
	case "hello", "revoked", "heartbeat", "reset":
	default:
		return nil // of a later release
	}
	if e.name != "hello" && e.name != "reset" && !s.welcomed {
		return malformed(e, "it comes before the stream has begun where it was to begin")
	}
	switch e.name {
	case "hello":
		var said FeedHello
		if json.Unmarshal([]byte(e.data), &said) != nil || said.Heartbeat <= 0 || !validPosition(said.Position) {
			return malformed(e, "it is not what the contract says")
		}
		s.silence = max(s.silence, time.Duration(said.Heartbeat)*2*time.Second)
		s.watchdog.Reset(s.silence)
		// One that announces a reset has no id. Else it repeats what was asked for:
		// another position means that the header was lost on the way, and with it
		// what was revoked in between.
		if e.id != "" && e.id != s.sent {
			return malformed(e, "it does not go on from the position that was asked for: look for a proxy that drops Last-Event-ID")
		}
		s.welcomed, s.at = e.id != "", s.client.config.Clock.Now()
	case "revoked":
		var said RevocationEntry
		if !validPosition(e.id) || json.Unmarshal([]byte(e.data), &said) != nil {
			return malformed(e, "it is not what the contract says")
		}
		known, err := said.into(s.revoked.Load())
		if known && err != nil {
			return malformed(e, err.Error())
		}
		if err != nil {
			s.client.log.LogAttrs(ctx, slog.LevelWarn, "marque revocation is not understood", slog.String("error", err.Error()))
		}
		s.advance(e.id)
	case "heartbeat":
		var said FeedHeartbeat
		if !validPosition(e.id) || json.Unmarshal([]byte(e.data), &said) != nil || said.Position != e.id {
			return malformed(e, "it is not what the contract says")
		}
		if behind(e.id, s.reached()) {
			return malformed(e, "it is behind what was told before")
		}
		// What comes out of a connection after so long a silence may have waited in
		// it: it does not say how things are now.
		now := s.client.config.Clock.Now()
		if s.since(s.at, now) {
			return errSilent
		}
		s.advance(e.id)
		s.beat(now)
	case "reset":
		return errReset
	}
	return nil
}

func (s *stream) advance(position string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if behind(s.position, position) {
		s.position = position
	}
}

func (s *stream) beat(now time.Time) {
	s.alive, s.failures, s.at = true, 0, now
	s.hear(now)
	s.watchdog.Reset(s.silence)
	s.revoked.Load().forget(now)
	s.mu.Lock()
	s.failure = nil
	s.mu.Unlock()
}

// expired reports whether the stream has ended because its token has. The server
// counts from a moment later than the client.
func (s *stream) expired() bool {
	return s.welcomed && s.token != nil && !s.client.config.Clock.Now().Before(s.token.Expires)
}
