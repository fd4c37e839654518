package keyring

import (
	"context"
	"testing"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
	"github.com/marque-id/marque/server/internal/store"
)

func TestTheKeeperWorksByItself(t *testing.T) {
	lives(t, Policy{MaxAge: 5 * time.Minute, RotationInterval: time.Hour}, func(t *testing.T, l *life) {
		first := l.in(store.KeyActive)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			l.keeper.Run(ctx)
		}()
		l.must(l.clock.BlockUntilContext(ctx, 1))
		l.clock.Advance(time.Hour)
		waitFor(t, func() bool { return l.in(store.KeyActive) != first })
		l.must(l.clock.BlockUntilContext(ctx, 1))
		l.clock.Advance(identity.MaxTokenLifetime + verifierSkew)
		waitFor(t, func() bool { return !l.published(first) })
		cancel()
		<-done
	})
}

// The time of a retired key ends whether the database is there or not.
func TestAKeyIsWithdrawnWithoutTheDatabase(t *testing.T) {
	lives(t, Policy{MaxAge: 5 * time.Minute}, func(t *testing.T, l *life) {
		first := l.in(store.KeyActive)
		l.clock.Advance(6 * time.Minute)
		_, err := l.rotate(first)
		l.must(err)
		l.clock.Advance(identity.MaxTokenLifetime + verifierSkew)
		away, cancel := context.WithCancel(t.Context())
		cancel()
		l.keeper.attempt(away)
		if l.published(first) {
			t.Error("it is still published")
		}
	})
}

func TestAKeeperThatFailedLeavesTheDatabaseAloneForAWhile(t *testing.T) {
	lives(t, Policy{MaxAge: 5 * time.Minute, RotationInterval: time.Hour}, func(t *testing.T, l *life) {
		first := l.in(store.KeyActive)
		l.clock.Advance(time.Hour)
		away, cancel := context.WithCancel(t.Context())
		cancel()
		l.keeper.attempt(away)
		l.clock.Advance(keepAgain - time.Second)
		l.keeper.attempt(t.Context())
		if l.in(store.KeyActive) != first {
			t.Error("asked again at once")
		}
		l.clock.Advance(time.Second)
		l.keeper.attempt(t.Context())
		if l.in(store.KeyActive) == first {
			t.Error("never asked again")
		}
	})
}
