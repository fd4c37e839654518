package store

import (
	"context"
	"slices"

	"github.com/marque-id/marque/server/internal/identity"
)

// Announced is a revocation with its place among all changes.
type Announced struct {
	Position int64
	identity.Revocation
}

// Followed is one step on the way through the changes: the revocations that were
// passed, in the order of commits, and the position that was reached.
type Followed struct {
	Revoked  []Announced
	Position int64
	// Anew says that the way to here was lost: Revoked has everything behind
	// Floor, and nothing is known of what lies before.
	Anew  bool
	Floor int64
}

// maxRecent bounds the revocations that a step anew tells of.
const maxRecent = 16_384

// OnFollowed registers fn to be called with each step, one after another, once
// the caches are where the step leads to. The first is anew. Register before
// Start. fn must not wait.
func (s *Store) OnFollowed(fn func(Followed)) {
	s.changes.mu.Lock()
	defer s.changes.mu.Unlock()
	s.changes.followers = append(s.changes.followers, fn)
}

func (c *changes) tell(step Followed) {
	c.mu.Lock()
	list := c.followers
	c.mu.Unlock()
	for _, fn := range list {
		fn(step)
	}
}

// recent is the position that the changes have reached, with the revocations
// among those that can still be read.
func (s *Store) recent(ctx context.Context) (Followed, error) {
	to := Followed{Anew: true}
	db := s.engine.followerReader()
	var oldest int64
	err := db.NewSelect().Model((*change)(nil)).ColumnExpr("COALESCE(MAX(id), 0), COALESCE(MIN(id), 1)").Scan(ctx, &to.Position, &oldest)
	if err != nil {
		return to, err
	}
	var list []change
	err = db.NewSelect().Model(&list).Where("id >= ?", oldest).Where("id <= ?", to.Position).
		Where("kind IN (?, ?)", ChangedTokenRevoked, ChangedRevoked).Order("id DESC").Limit(maxRecent).Scan(ctx)
	if err != nil {
		return to, err
	}
	slices.Reverse(list)
	to.Floor = oldest - 1
	if len(list) == maxRecent {
		to.Floor = list[0].ID - 1
	}
	for i := range list {
		if r, ok := list[i].revocation(); ok {
			to.Revoked = append(to.Revoked, Announced{list[i].ID, r})
		}
	}
	return to, nil
}

// Behind reports whether a position lies ahead of what this node has followed
// and yet is one that the changes have reached, as other nodes may know already.
func (s *Store) Behind(ctx context.Context, position int64) (bool, error) {
	if position <= s.Snapshot() {
		return false, nil
	}
	var last int64
	err := s.engine.reader().NewSelect().Model((*change)(nil)).ColumnExpr("COALESCE(MAX(id), 0)").Scan(ctx, &last)
	return position <= last, translate(err)
}
