package store

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

const (
	// revocationsPage is how many rows one statement reads: each is a new chance
	// for the database to do something else.
	revocationsPage = 100_000
	// loadedTogether is how many of them are put into memory under one lock.
	loadedTogether = 1000
)

// loadRevocations reads the tables into memory.
func (s *Store) loadRevocations(ctx context.Context) error {
	for after := ""; ; {
		n, last, err := s.loadTokens(ctx, after)
		if err != nil {
			return err
		}
		if n < revocationsPage {
			break
		}
		after = last
	}
	var rows []revocationRow
	if err := s.engine.followerReader().NewSelect().Model(&rows).Scan(ctx); err != nil {
		return err
	}
	for i := range rows {
		r := rows[i].revocation()
		s.revocations.put(&r)
	}
	return nil
}

// loaded is a token on its way from a row into memory.
type loaded struct {
	id       [16]byte
	expiry   int64
	audience uint16
}

// loadTokens reads one page of revoked tokens. It makes no value of a row that
// the garbage collector would have to look at: there may be ten million.
func (s *Store) loadTokens(ctx context.Context, after string) (n int, last string, err error) {
	rows, err := s.engine.followerReader().QueryContext(ctx,
		"SELECT token_id, expires_at, audience FROM token_revocations WHERE token_id > ? ORDER BY token_id LIMIT ?", after, revocationsPage)
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	r := s.revocations
	var jti, audience sql.RawBytes
	var expires int64
	batch := make([]loaded, 0, loadedTogether)
	flush := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i := range batch {
			r.addLocked(batch[i].id, batch[i].expiry, batch[i].audience)
		}
		batch = batch[:0]
	}
	for rows.Next() {
		if err := rows.Scan(&jti, &expires, &audience); err != nil {
			return n, "", err
		}
		n++
		if n == revocationsPage {
			last = string(jti)
		}
		id, ok := parseTokenID([]byte(jti))
		if !ok {
			continue
		}
		batch = append(batch, loaded{id, expires/time.Second.Microseconds() + 1, r.numberOf(audience)})
		if len(batch) == cap(batch) {
			flush()
		}
	}
	flush()
	return n, last, rows.Err()
}

// numberOf is the number of an audience, mostly of one that is known already.
func (r *revocations) numberOf(audience []byte) uint16 {
	r.mu.RLock()
	n, ok := r.audiences.index[string(audience)] // not copied for the look
	r.mu.RUnlock()
	if ok {
		return n
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.audiences.number(string(audience))
}
