package marque

import (
	"crypto/sha256"
	"sync"
)

// digest is the SHA-256 of a token. The cache holds no token.
type digest = [sha256.Size]byte

func digestOf(token string) digest {
	var text [2 << 10]byte // on the stack: converting the string would copy it to the heap
	if len(token) > len(text) {
		return sha256.Sum256([]byte(token))
	}
	return sha256.Sum256(text[:copy(text[:], token)])
}

// verifiedToken is what a signature proves.
type verifiedToken struct {
	principal Principal
	key       *publicKey // that verified it
}

// tokenCache remembers verified tokens: at most size, in two generations. When
// the young one is full it becomes the old one, and what was old is forgotten;
// what is used moves to the young one. Only tokens that the issuer signed get
// in, so that nobody pushes others out with texts of their own making.
type tokenCache struct {
	mu         sync.Mutex
	young, old map[digest]*verifiedToken
	limit      int // of one generation
}

func newTokenCache(size int) *tokenCache {
	return &tokenCache{young: make(map[digest]*verifiedToken), limit: max(size/2, 1)}
}

func (c *tokenCache) get(d *digest) *verifiedToken {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.young[*d]; v != nil {
		return v
	}
	v := c.old[*d]
	if v != nil {
		delete(c.old, *d)
		c.add(d, v)
	}
	return v
}

func (c *tokenCache) put(d *digest, v *verifiedToken) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(d, v)
}

func (c *tokenCache) add(d *digest, v *verifiedToken) {
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[digest]*verifiedToken, c.limit)
	}
	c.young[*d] = v
}
