package token

import (
	"encoding/binary"
	"testing"
)

func numbered(n int) *digest {
	var d digest
	d[0] = byte(n)
	binary.BigEndian.PutUint64(d[8:], uint64(n))
	return &d
}

func (c *cache) bytes() (n int) {
	for i := range c.shards {
		for _, v := range c.shards[i].young {
			n += v.size()
		}
		for _, v := range c.shards[i].old {
			n += v.size()
		}
	}
	return n
}

func TestCacheStaysWithinItsBytes(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	c := newCache(limit)
	for i := range 20_000 {
		c.put(numbered(i), &verified{payload: make([]byte, i%2000)})
		if i%1000 == 0 && c.bytes() > limit {
			t.Fatalf("%d bytes after %d entries", c.bytes(), i)
		}
	}
	if n := c.bytes(); n > limit || n < limit/4 {
		t.Errorf("%d bytes are held, with a limit of %d", n, limit)
	}
}

func TestCacheKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	c := newCache(1 << 20)
	kept := &verified{payload: []byte("kept")}
	c.put(numbered(1<<30), kept)
	for i := range 20_000 {
		c.put(numbered(i), &verified{payload: make([]byte, 500)})
		if c.get(numbered(1<<30)) != kept {
			t.Fatalf("lost after %d others", i+1)
		}
	}
	if c.get(numbered(0)) != nil {
		t.Error("what nobody used since is still there")
	}
}

func TestCacheTakesNothingLargerThanItself(t *testing.T) {
	t.Parallel()
	c := newCache(64 << 10)
	c.put(numbered(1), &verified{payload: make([]byte, 8<<10)})
	if c.get(numbered(1)) != nil || c.bytes() != 0 {
		t.Error("an entry beyond the limit of a shard was kept")
	}
}
