package marque

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// The claims that a revocation may look at, as indexes.
const (
	revokedToken = iota
	revokedAccount
	revokedCredential
	revokedKey
	revokedKinds
)

// revokedSet is what is revoked and could still be presented. One goroutine
// writes to it, many read. Everything in it is forgotten when its time has come,
// so that it is never larger than what was revoked within the life of a token.
type revokedSet struct {
	mu   sync.RWMutex
	held [revokedKinds]map[string]revokedThing
	ends map[int64][]revokedRef // by the minute in which it can be forgotten
}

type revokedThing struct {
	gen  int64 // of an account: tokens of a lower one are dead
	ends int64 // Unix seconds
}

type revokedRef struct {
	kind int
	id   string
}

func newRevokedSet() *revokedSet {
	s := &revokedSet{ends: make(map[int64][]revokedRef)}
	for kind := range s.held {
		s.held[kind] = make(map[string]revokedThing)
	}
	return s
}

// stops reports whether the token of p is dead.
func (s *revokedSet) stops(p *Principal) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if account, found := s.held[revokedAccount][p.ClientID]; found && p.Generation < account.gen {
		return true
	}
	_, token := s.held[revokedToken][p.TokenID]
	_, credential := s.held[revokedCredential][p.Credential]
	_, key := s.held[revokedKey][p.kid]
	return token || credential || key
}

// add adds one revocation. What is revoked stays so: a lower generation or an
// earlier end than is known changes nothing.
func (s *revokedSet) add(kind int, id string, t revokedThing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(kind, id, t)
}

func (s *revokedSet) put(kind int, id string, t revokedThing) {
	before, known := s.held[kind][id]
	t.gen, t.ends = max(t.gen, before.gen), max(t.ends, before.ends)
	s.held[kind][id] = t
	if !known || t.ends > before.ends {
		minute := t.ends/60 + 1
		s.ends[minute] = append(s.ends[minute], revokedRef{kind, id})
	}
}

// forget drops what no token can be stopped by any more.
func (s *revokedSet) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for minute, list := range s.ends {
		if minute*60 > now.Unix() {
			continue
		}
		for _, ref := range list {
			if s.held[ref.kind][ref.id].ends < minute*60 { // else it was revoked again, for longer
				delete(s.held[ref.kind], ref.id)
			}
		}
		delete(s.ends, minute)
	}
}

func (s *revokedSet) size() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, held := range s.held {
		n += len(held)
	}
	return n
}

var errRevocation = errors.New("a revocation lacks what it must have")

// into adds what an event tells. An error means that nothing was added: known is
// whether that is because this release does not know the kind of revocation.
func (e *RevocationEntry) into(s *revokedSet) (known bool, err error) {
	t := revokedThing{ends: e.ExpiresAt.Unix()}
	kind := 0
	switch e.Kind {
	case RevocationKindToken:
		kind = revokedToken
	case RevocationKindServiceAccount:
		kind = revokedAccount
		if e.Gen == nil {
			return true, errRevocation
		}
		t.gen = *e.Gen
	case RevocationKindCredential:
		kind = revokedCredential
	case RevocationKindSigningKey:
		kind = revokedKey
	case "":
		return true, errRevocation
	default:
		return false, fmt.Errorf("revocations of the kind %q are not known to this release", string(e.Kind))
	}
	if e.ID == "" || e.ExpiresAt.IsZero() {
		return true, errRevocation
	}
	s.add(kind, e.ID, t)
	return true, nil
}

// newSet makes a set of a snapshot and of what is known already: a node that is
// behind another one revives nothing.
func (r *RevocationSnapshot) newSet(before *revokedSet) (*revokedSet, error) {
	if !validPosition(r.Position) || r.ServiceAccounts == nil || r.Credentials == nil || r.SigningKeys == nil || r.Tokens == nil {
		return nil, errRevocation
	}
	s, whole := newRevokedSet(), true
	put := func(kind int, id string, gen int64, ends time.Time) {
		whole = whole && id != "" && !ends.IsZero()
		s.put(kind, id, revokedThing{gen, ends.Unix()})
	}
	for _, a := range r.ServiceAccounts {
		put(revokedAccount, a.ID, a.Gen, a.ExpiresAt)
	}
	for _, c := range r.Credentials {
		put(revokedCredential, c.ID, 0, c.ExpiresAt)
	}
	for _, k := range r.SigningKeys {
		put(revokedKey, k.ID, 0, k.ExpiresAt)
	}
	for _, group := range r.Tokens {
		for _, id := range group.IDs {
			put(revokedToken, id, 0, group.ExpiresAt)
		}
	}
	if !whole {
		return nil, errRevocation
	}
	if before != nil { // nobody but the caller writes to it
		for kind, held := range before.held {
			for id, t := range held {
				s.put(kind, id, t)
			}
		}
	}
	return s, nil
}

// validPosition holds a position to the form that the contract gives it, so that
// it can be compared and sent back.
func validPosition(p string) bool {
	if p == "" || len(p) > 18 || p[0] == '0' && len(p) > 1 {
		return false
	}
	for i := range len(p) {
		if p[i] < '0' || p[i] > '9' {
			return false
		}
	}
	return true
}

// behind reports whether position p lies before q.
func behind(p, q string) bool { return len(p) < len(q) || len(p) == len(q) && p < q }
