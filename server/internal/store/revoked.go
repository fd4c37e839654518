package store

import (
	"cmp"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// revocations are what is revoked and could still be presented: maps without
// pointers, which the garbage collector never looks into. Tokens come in one for
// each hour in which tokens were issued (a jti tells); it goes as a whole when
// its last token has expired.
type revocations struct {
	mu        sync.RWMutex
	hours     map[int64]*revokedHour
	stops     map[stopKey]stop
	audiences words16
	prefixes  words16
	version   uint64 // grows with each of them
}

// revokedHour has for each token when it expires, in seconds since the hour
// began, and the number of its audience above them.
type revokedHour struct {
	tokens map[[16]byte]uint32
	last   int64 // the second in which the last of them expires
}

const (
	expiryBits   = 17 // of seconds, more than 36 hours: a token lives for 24 at most
	expiryMask   = 1<<expiryBits - 1
	maxAudiences = 1 << (32 - expiryBits)
)

// stop is the revocation of all tokens of something.
type stop struct {
	gen       int64
	revokedAt int64 // seconds
	expiresAt int64
}

type stopKey struct {
	kind   uint8
	prefix uint16
	id     [16]byte
}

func newRevocations() *revocations {
	return &revocations{
		hours: map[int64]*revokedHour{}, stops: map[stopKey]stop{},
		audiences: newWords(maxAudiences), prefixes: newWords(1 << 16),
	}
}

func (r *revocations) has(id [16]byte) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	h := r.hours[hourOf(id)]
	if h == nil {
		return false
	}
	_, ok := h.tokens[id]
	return ok
}

// add remembers a token that expires in the given second.
func (r *revocations) add(id [16]byte, expiry int64, audience string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addLocked(id, expiry, r.audiences.number(audience))
}

func (r *revocations) addLocked(id [16]byte, expiry int64, audience uint16) {
	key := hourOf(id)
	h := r.hours[key]
	if h == nil {
		h = &revokedHour{tokens: map[[16]byte]uint32{}}
		r.hours[key] = h
	}
	after := min(max(expiry-key*int64(time.Hour/time.Second), 0), expiryMask)
	h.tokens[id] = uint32(after) | uint32(audience)<<expiryBits
	h.last = max(h.last, expiry)
	r.version++
}

// put remembers a revocation of any kind.
func (r *revocations) put(v *identity.Revocation) {
	if v.Kind == identity.RevokedToken {
		if id, ok := parseTokenID(v.ID); ok {
			r.add(id, v.ExpiresAt.Unix(), v.Audience)
		}
		return
	}
	prefix, body, _ := strings.Cut(v.ID, "_")
	id, ok := parseIDBody(body)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := stopKey{uint8(slices.Index(stopKinds(), v.Kind)), r.prefixes.number(prefix), id}
	if was := r.stops[key]; was.gen > v.Gen {
		return // another node's, seen late
	}
	r.version++
	r.stops[key] = stop{v.Gen, v.RevokedAt.Unix(), v.ExpiresAt.Unix() + 1}
}

// stopKinds are the kinds that stop all tokens of something, by their number in
// memory.
func stopKinds() []identity.RevocationKind {
	return []identity.RevocationKind{identity.RevokedServiceAccount, identity.RevokedCredential, identity.RevokedSigningKey}
}

// drop forgets what no longer matters before the given time.
func (r *revocations) drop(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, h := range r.hours {
		if h.last < before.Unix() {
			delete(r.hours, key)
		}
	}
	for key, s := range r.stops {
		if s.expiresAt < before.Unix() {
			delete(r.stops, key)
		}
	}
}

func (r *revocations) size() (n int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, h := range r.hours {
		n += len(h.tokens)
	}
	return n + len(r.stops)
}

// RevocationsVersion changes with each revocation that is put into memory.
func (s *Store) RevocationsVersion() uint64 {
	s.revocations.mu.RLock()
	defer s.revocations.mu.RUnlock()
	return s.revocations.version
}

// RevokedTokens are tokens that can be forgotten together.
type RevokedTokens struct {
	ExpiresAt time.Time
	IDs       [][16]byte
}

// RevokedTokens gives the revoked tokens that are not known to be for another
// audience and have not expired, those of each hour of issue one after another,
// those together that expire in the same minute. It holds the lock for no longer
// than it takes to copy one hour.
func (s *Store) RevokedTokens(audience string, yield func(RevokedTokens)) {
	r, now := s.revocations, s.now().Unix()
	for _, key := range r.sortedHours() {
		for _, group := range r.hour(key, audience, now) {
			yield(group)
		}
	}
}

func (r *revocations) sortedHours() []int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	keys := make([]int64, 0, len(r.hours))
	for key := range r.hours {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func (r *revocations) hour(key int64, audience string, now int64) []RevokedTokens {
	byMinute := map[int64][][16]byte{}
	r.mu.RLock()
	number, known := r.audiences.find(audience)
	if h := r.hours[key]; h != nil {
		for id, v := range h.tokens {
			of := uint16(v >> expiryBits)
			if audience != "" && of != 0 && (!known || of != number) {
				continue
			}
			after := int64(v & expiryMask)
			expiry := key*int64(time.Hour/time.Second) + after
			if after == expiryMask {
				expiry = h.last // beyond what its place holds
			}
			if expiry > now {
				minute := (expiry + 59) / 60
				byMinute[minute] = append(byMinute[minute], id)
			}
		}
	}
	r.mu.RUnlock()
	groups := make([]RevokedTokens, 0, len(byMinute))
	for minute, ids := range byMinute {
		slices.SortFunc(ids, func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) })
		groups = append(groups, RevokedTokens{time.Unix(minute*60, 0).UTC(), ids})
	}
	slices.SortFunc(groups, func(a, b RevokedTokens) int { return a.ExpiresAt.Compare(b.ExpiresAt) })
	return groups
}

// Revoked are the revocations of all tokens of something that have not expired,
// by kind and id.
func (s *Store) Revoked() []identity.Revocation {
	r, now := s.revocations, s.now().Unix()
	r.mu.RLock()
	list := make([]identity.Revocation, 0, len(r.stops))
	for key, v := range r.stops {
		if v.expiresAt > now {
			list = append(list, identity.Revocation{
				Kind: stopKinds()[key.kind], ID: identity.FormatID(identity.Prefix(r.prefixes.list[key.prefix]), key.id), Gen: v.gen,
				RevokedAt: time.Unix(v.revokedAt, 0).UTC(), ExpiresAt: time.Unix(v.expiresAt, 0).UTC(),
			})
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(list, func(a, b identity.Revocation) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// words16 numbers words. The first is "", which also stands for all that there
// is no number left for.
type words16 struct {
	limit int
	list  []string
	index map[string]uint16
}

func newWords(limit int) words16 {
	return words16{limit: limit, list: []string{""}, index: map[string]uint16{"": 0}}
}

func (w *words16) find(word string) (uint16, bool) {
	n, ok := w.index[word]
	return n, ok
}

func (w *words16) number(word string) uint16 {
	n, ok := w.index[word]
	if !ok && len(w.list) < w.limit {
		n = uint16(len(w.list))
		word = own(word)
		w.list, w.index[word] = append(w.list, word), n
	}
	return n
}

// hourOf reads the hour of issue from the first six bytes of an id, which are
// milliseconds.
func hourOf(id [16]byte) int64 {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms / time.Hour.Milliseconds()
}

// parseTokenID gives the 128 bits of a jti, if it is one in the spelling that
// identity.NewID makes. It is on the path of every introspection.
func parseTokenID[T string | []byte](jti T) (id [16]byte, ok bool) {
	const prefix = string(identity.PrefixToken) + "_"
	if len(jti) != len(prefix)+idBody || string(jti[:len(prefix)]) != prefix {
		return id, false
	}
	return parseIDBody(jti[len(prefix):])
}

// idBody is the length of 128 bits in base32.
const idBody = 26

func parseIDBody[T string | []byte](body T) (id [16]byte, ok bool) {
	if len(body) != idBody || body[0] > '7' {
		return id, false
	}
	var hi, lo uint64
	for i := range len(body) {
		c := body[i]
		if c >= byte(len(digits)) || digits[c] > 31 {
			return id, false
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(digits[c])
	}
	binary.BigEndian.PutUint64(id[:8], hi)
	binary.BigEndian.PutUint64(id[8:], lo)
	return id, true
}

// digits gives the value of each ASCII character as a digit of our base32, and
// 32 for one that is none.
const digits = "" +
	"\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20" +
	"\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20" +
	"\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20" +
	"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x20\x20\x20\x20\x20\x20" +
	"\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20" +
	"\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20\x20" +
	"\x20\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x20\x12\x13\x20\x14\x15\x20" +
	"\x16\x17\x18\x19\x1a\x20\x1b\x1c\x1d\x1e\x1f\x20\x20\x20\x20\x20"
