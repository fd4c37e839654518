package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// How exactly the last use of a credential is known, and with it the account's:
// one that is used all the time costs one write in this time. The first use is
// always written within seconds. An account with several credentials may be in
// a rotation, when somebody waits to see the old one at rest; of the others, who
// are most of a large fleet, an hour is enough to find those that nobody needs.
const (
	touchGrain    = time.Hour
	rotationGrain = 5 * time.Minute
)

// uses gathers when credentials were last used, and with them their accounts.
type uses struct {
	noted *noted

	mu          sync.Mutex
	credentials map[string]int64
}

const (
	// maxUses bounds what waits to be written; more is forgotten.
	maxUses = 200_000
	// manyUses are written without waiting for the interval. A fleet that comes
	// back all at once costs no more memory than this.
	manyUses  = 2_000
	usesBatch = 500
)

func newUses(accounts int) *uses {
	return &uses{noted: newNoted(accounts), credentials: map[string]int64{}}
}

// Touch notes that an account was used, and by which of its credentials. It is
// written some seconds later, together with others. A crash forgets those
// seconds. What was noted lately costs no lock and no memory.
func (s *Store) Touch(p *Principal, credentialID string, at time.Time) {
	grain := touchGrain
	if len(p.Secrets)+len(p.APIKeys) > 1 {
		grain = rotationGrain
	}
	if s.uses.noted.lately(p.Account.ID, credentialID, at, grain) {
		return
	}
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	before := len(s.uses.credentials)
	// Copied: the text may be a part of a request.
	latest(s.uses.credentials, own(credentialID), micros(at))
	s.wakeForUses(before, len(s.uses.credentials))
}

// wakeForUses has what waits written when it has become many. Only new uses
// wake, and once: what could not be written waits for the interval, so that a
// database that is down is not asked all the time.
func (s *Store) wakeForUses(before, now int) {
	if before < manyUses && now >= manyUses {
		select {
		case s.usesAreMany <- struct{}{}:
		default: // it is awake already
		}
	}
}

// again takes back what could not be written.
func (u *uses) again(credentials map[string]int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, at := range credentials {
		latest(u.credentials, id, at)
	}
}

func latest(uses map[string]int64, id string, at int64) {
	if was, ok := uses[id]; id != "" && at > was && (ok || len(uses) < maxUses) {
		uses[id] = at
	}
}

func (u *uses) take() (credentials map[string]int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	credentials = u.credentials
	u.credentials = map[string]int64{}
	return credentials
}

// flushUses writes what Touch and Used have gathered.
func (s *Store) flushUses(ctx context.Context) error {
	return errors.Join(s.flushLastUses(ctx), s.flushPermissionUses(ctx))
}

// flushLastUses writes what Touch has gathered. What could not be written waits
// for the next round.
func (s *Store) flushLastUses(ctx context.Context) error {
	last := s.uses.take()
	for _, t := range credentialTables() {
		own := make([]string, 0, len(last))
		for id := range last {
			if identity.ParseID(t.prefix, id) == nil {
				own = append(own, id)
			}
		}
		slices.Sort(own)
		err := writeUses(ctx, s, own, last, func(m *Maintenance, ids []string) error { return m.noteUses(ctx, t.table, ids, last) })
		if err != nil {
			s.uses.again(last)
			return err
		}
	}
	return nil
}

func (m *Maintenance) noteUses(ctx context.Context, table string, ids []string, last map[string]int64) error {
	args := make([]any, 0, 2*len(ids))
	for _, id := range ids {
		args = append(args, id, last[id])
	}
	values := strings.TrimSuffix(strings.Repeat("(?, ?), ", len(ids)), ", ")
	query := "WITH seen(id, at) AS (VALUES " + values + ") UPDATE " + table +
		" SET last_used_at = seen.at FROM seen WHERE " + table + ".id = seen.id AND last_used_at < seen.at"
	_, err := m.db.NewRaw(query, args...).Exec(ctx)
	return translate(err)
}

// writeUses writes the uses, some at a time: each batch is a transaction of its
// own, so that tokens, which must be on record before they are answered, wait
// for one batch only. What is written is taken out of last.
func writeUses[K comparable](ctx context.Context, s *Store, keys []K, last map[K]int64, write func(m *Maintenance, batch []K) error) error {
	for batch := range slices.Chunk(keys, usesBatch) {
		if err := s.Maintain(ctx, func(m *Maintenance) error { return write(m, batch) }); err != nil {
			return err
		}
		for _, k := range batch {
			delete(last, k)
		}
	}
	return nil
}
