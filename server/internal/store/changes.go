package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/identity"
)

// ChangeKind says what sort of thing a change concerns.
type ChangeKind string

// The kinds of changes.
const (
	ChangedServiceAccount ChangeKind = "service_account" // its row, its credentials or its roles
	ChangedResourceServer ChangeKind = "resource_server"
	ChangedRole           ChangeKind = "role"
	ChangedSigningKey     ChangeKind = "signing_key"
	ChangedTokenRevoked   ChangeKind = "token_revoked" // the id is the token's jti
	ChangedRevoked        ChangeKind = "revoked"       // of all tokens of something: the id is the thing's
)

// change is one row of the changes table. The ref of a revocation says all that
// there is to know of it, so that a follower needs no second look: see
// announceRevocation.
type change struct {
	bun.BaseModel `bun:"table:changes"`

	ID   int64 `bun:",pk"`
	Kind ChangeKind
	Ref  string
	At   int64
}

// id is the ref without what follows the first space.
func (c *change) id() string {
	id, _, _ := strings.Cut(c.Ref, " ")
	return id
}

// announceRevocation writes a revocation as a change: its id, the second by
// which it can be forgotten, and of a token its audience, of anything else its
// kind and generation.
func announceRevocation(r *identity.Revocation) (ChangeKind, string) {
	ref := r.ID + " " + strconv.FormatInt(r.ExpiresAt.Unix()+1, 10)
	if r.Kind == identity.RevokedToken {
		return ChangedTokenRevoked, strings.TrimSuffix(ref+" "+r.Audience, " ")
	}
	return ChangedRevoked, ref + " " + string(r.Kind) + " " + strconv.FormatInt(r.Gen, 10)
}

// revocation reads what announceRevocation has written.
func (c *change) revocation() (r identity.Revocation, ok bool) {
	if c.Kind != ChangedTokenRevoked && c.Kind != ChangedRevoked {
		return r, false
	}
	words := append(strings.SplitN(c.Ref, " ", 4), "", "", "")
	seconds, _ := strconv.ParseInt(words[1], 10, 64) // zero: expired, and kept in the table only
	r = identity.Revocation{ID: words[0], ExpiresAt: time.Unix(seconds, 0).UTC(), RevokedAt: fromMicros(c.At)}
	if c.Kind == ChangedTokenRevoked {
		r.Kind, r.Audience = identity.RevokedToken, words[2]
		return r, true
	}
	r.Kind = identity.RevocationKind(words[2])
	r.Gen, _ = strconv.ParseInt(words[3], 10, 64)
	return r, slices.Contains(stopKinds(), r.Kind)
}

const (
	// changesRetained is how long a change can be read. A follower that was
	// away for longer drops everything it holds instead.
	changesRetained = 10 * time.Minute
	changesPage     = 1000
	// freshness is how old the state of revocations may be (product.md).
	freshness = 5 * time.Second
)

// insertChanges announces changes. Ids continue without a gap, which is safe
// because the transaction is the only one that writes here until it ends: id
// order is commit order.
func (s *Store) insertChanges(ctx context.Context, db bun.Tx, list []change, now time.Time) error {
	if len(list) == 0 {
		return nil
	}
	var last int64
	if err := db.NewSelect().Model((*change)(nil)).ColumnExpr("COALESCE(MAX(id), 0)").Scan(ctx, &last); err != nil {
		return err
	}
	for i := range list {
		list[i].ID, list[i].At = last+1+int64(i), micros(now)
	}
	if _, err := db.NewInsert().Model(&list).Exec(ctx); err != nil {
		return err
	}
	return s.engine.announce(ctx, db)
}

// changesAfter reads on from a position. The row of the position itself must
// still be there, or something between may have been cleaned up unseen: lost.
func changesAfter(ctx context.Context, db bun.IDB, position int64) (list []change, lost bool, err error) {
	err = db.NewSelect().Model(&list).Where("id >= ?", position).Order("id").Limit(changesPage).Scan(ctx)
	if err != nil || position == 0 && len(list) == 0 {
		return nil, false, err
	}
	if position == 0 {
		return list, list[0].ID != 1, nil
	}
	if len(list) == 0 || list[0].ID != position {
		return nil, true, nil
	}
	return list[1:], false, nil
}

// changes is how far this node has followed the changes table.
type changes struct {
	elapsed clock.Clock
	forget  func(list []change) // drops what the caches hold of them

	applying sync.Mutex // held while caches and subscribers are brought up to a list

	mu          sync.Mutex // the fields below; held for moments only
	applied     int64
	early       map[int64]*change // applied before their turn: own commits that overtook others
	freshAt     time.Time
	following   bool
	subscribers map[ChangeKind][]func(ctx context.Context, id string)
	followers   []func(Followed)
}

// maxEarly bounds the own commits that wait for their turn.
const maxEarly = 10_000

func newChanges(elapsed clock.Clock, forget func([]change)) *changes {
	return &changes{
		elapsed: elapsed, forget: forget, early: map[int64]*change{},
		subscribers: map[ChangeKind][]func(context.Context, string){},
	}
}

// OnChange registers fn to be called for each change of the kind, before InTx
// returns on the node that made it. The keyring reloads by it. Start, and a
// follower that has lost its place, call it with id "": anything may have
// changed. Register before Start. fn may read, but not call InTx.
func (s *Store) OnChange(kind ChangeKind, fn func(ctx context.Context, id string)) {
	s.changes.mu.Lock()
	defer s.changes.mu.Unlock()
	s.changes.subscribers[kind] = append(s.changes.subscribers[kind], fn)
}

// Snapshot is the position in the changes that this node has applied. Take it
// before reading what an issuance is decided by, and put it into
// [Issuance.Snapshot].
func (s *Store) Snapshot() int64 {
	s.changes.mu.Lock()
	defer s.changes.mu.Unlock()
	return s.changes.applied
}

// apply brings the caches and the subscribers up to the changes in list and
// then moves the position on, one list at a time. In this order: whoever takes
// the position afterwards decides by nothing older, and who applies a change
// that another is applying returns only when that is done.
func (c *changes) apply(ctx context.Context, list []change) {
	if len(list) == 0 {
		return
	}
	c.applying.Lock()
	defer c.applying.Unlock()
	// What another has applied needs nothing more: forgetting it again would only
	// throw away what was read since.
	fresh := c.unseen(list)
	c.forget(fresh)
	for i := range fresh {
		c.publish(ctx, fresh[i].Kind, fresh[i].id())
	}
	c.tell(c.advance(fresh))
}

// unseen are the changes that have not been applied yet. The caller holds applying.
func (c *changes) unseen(list []change) []change {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := list[:0:0]
	for i := range list {
		if id := list[i].ID; id > c.applied && c.early[id] == nil {
			fresh = append(fresh, list[i])
		}
	}
	return fresh
}

// advance moves the position as far as there is no gap, and tells of the
// revocations that it has passed.
func (c *changes) advance(list []change) (step Followed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range list {
		c.early[list[i].ID] = &list[i]
	}
	for next := c.early[c.applied+1]; next != nil; next = c.early[c.applied+1] {
		c.applied++
		delete(c.early, c.applied)
		if r, ok := next.revocation(); ok {
			step.Revoked = append(step.Revoked, Announced{c.applied, r})
		}
	}
	step.Position = c.applied
	if len(c.early) > maxEarly { // the follower is stuck; it will read them again
		clear(c.early)
	}
	return step
}

// jump moves the position without applying what lies between: the caller has
// dropped all that the caches held, and the subscribers are told to read anew.
func (c *changes) jump(ctx context.Context, to Followed) {
	c.applying.Lock()
	defer c.applying.Unlock()
	c.publishAll(ctx)
	c.mu.Lock()
	c.applied = to.Position
	clear(c.early)
	c.mu.Unlock()
	c.tell(to)
}

func (c *changes) publish(ctx context.Context, kind ChangeKind, id string) {
	c.mu.Lock()
	list := c.subscribers[kind]
	c.mu.Unlock()
	for _, fn := range list {
		fn(ctx, id)
	}
}

func (c *changes) publishAll(ctx context.Context) {
	for _, kind := range []ChangeKind{ChangedServiceAccount, ChangedResourceServer, ChangedRole, ChangedSigningKey, ChangedTokenRevoked, ChangedRevoked} {
		c.publish(ctx, kind, "")
	}
}

func (c *changes) follow(following bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.following, c.freshAt = following, c.elapsed.Now()
}

// seen notes that the follower has read all changes as of the given moment.
func (c *changes) seen(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if at.After(c.freshAt) {
		c.freshAt = at
	}
}

// Fresh is Unavailable when this node may have missed a revocation for longer
// than 5 s. With SQLite nobody else can revoke.
func (s *Store) Fresh() error {
	c := s.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.following && c.elapsed.Now().Sub(c.freshAt) > freshness {
		return fault.Unavailable(errNotFresh)
	}
	return nil
}
