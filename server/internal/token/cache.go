package token

import (
	"crypto/sha256"
	"sync"
)

// verified is what the signature and the text of a token prove for good. Whether
// the token still stands is not in here.
type verified struct {
	claims  Claims
	scopes  []string // of claims.Scope
	payload []byte   // as it was signed
	keyID   string
}

// digest is the SHA-256 of a token's text. The cache holds no token.
type digest = [sha256.Size]byte

// entryOverhead is what an entry costs beside its payload: key, struct, the
// string that the claims share with a second copy of the payload, scope and
// role headers, the map's own share.
const entryOverhead = 640

func (v *verified) size() int { return 2*len(v.payload) + entryOverhead }

const cacheShards = 16

// cache remembers verified tokens, bounded in bytes. Each shard has a young and
// an old generation: when the young one is full it becomes the old one, and
// what was old is gone at once. An entry that is used moves to the young one.
// Only tokens that we signed get in, so that nobody can push others out with
// text of their own making.
type cache struct{ shards [cacheShards]cacheShard }

type cacheShard struct {
	mu         sync.Mutex
	young, old map[digest]*verified
	youngBytes int
	oldBytes   int
	limit      int // of one generation
}

func newCache(bytes int) *cache {
	c := new(cache)
	for i := range c.shards {
		c.shards[i].young = make(map[digest]*verified)
		c.shards[i].limit = bytes / cacheShards / 2
	}
	return c
}

func (c *cache) get(d *digest) *verified {
	s := &c.shards[d[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.young[*d]; v != nil {
		return v
	}
	v := s.old[*d]
	if v != nil {
		delete(s.old, *d)
		s.oldBytes -= v.size()
		s.add(d, v)
	}
	return v
}

func (c *cache) put(d *digest, v *verified) {
	s := &c.shards[d[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young[*d] == nil {
		s.add(d, v)
	}
}

func (s *cacheShard) add(d *digest, v *verified) {
	if size := v.size(); s.youngBytes+size > s.limit {
		s.old, s.oldBytes, s.young, s.youngBytes = s.young, s.youngBytes, make(map[digest]*verified), 0
		if size > s.limit {
			return
		}
	}
	s.young[*d] = v
	s.youngBytes += v.size()
}

// held is what all entries take, in bytes.
func (c *cache) held() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.youngBytes + s.oldBytes
		s.mu.Unlock()
	}
	return n
}
