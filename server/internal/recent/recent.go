// Package recent remembers what was found out about a text for as long as it is
// asked for, bounded in bytes. It knows texts by their digests and holds none.
package recent

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// Digest is the SHA-256 of a text, or of several one after the other.
type Digest = [sha256.Size]byte

// Common is how long texts may be for [Sum] to need no memory of its own.
const Common = 2 << 10

// Sum is the digest of texts: other texts, and the same cut elsewhere, have
// another.
func Sum[T string | []byte](texts ...T) Digest {
	var space [Common]byte
	b := space[:0]
	for _, t := range texts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(t)))
		b = append(b, t...)
	}
	return sha256.Sum256(b)
}

const shards = 16

// Memory is a bounded memory of values. Each shard has a young and an old
// generation: when the young one is full it becomes the old one, and what was
// old is gone at once. An entry that is used moves to the young one.
type Memory[V comparable] struct {
	size   func(V) int
	shards [shards]shard[V]
}

type shard[V comparable] struct {
	mu         sync.Mutex
	young, old map[Digest]V
	youngBytes int
	oldBytes   int
	limit      int // of one generation
}

// New makes a memory of at most so many bytes. size is what a value takes, in
// bytes, with its place. The zero value of V stands for nothing.
func New[V comparable](bytes int, size func(V) int) *Memory[V] {
	m := &Memory[V]{size: size}
	for i := range m.shards {
		m.shards[i].young = make(map[Digest]V)
		m.shards[i].limit = bytes / shards / 2
	}
	return m
}

// Get is what was put for the digest, or the zero value.
func (m *Memory[V]) Get(d *Digest) V {
	var none V
	s := &m.shards[d[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.young[*d]; v != none {
		return v
	}
	v := s.old[*d]
	if v != none {
		delete(s.old, *d)
		size := m.size(v)
		s.oldBytes -= size
		s.add(d, v, size)
	}
	return v
}

// Put remembers a value, unless there is one already, or it is larger than the
// memory bears.
func (m *Memory[V]) Put(d *Digest, v V) {
	var none V
	size := m.size(v)
	s := &m.shards[d[0]%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young[*d] == none {
		s.add(d, v, size)
	}
}

func (s *shard[V]) add(d *Digest, v V, size int) {
	if s.youngBytes+size > s.limit {
		s.old, s.oldBytes, s.young, s.youngBytes = s.young, s.youngBytes, make(map[Digest]V), 0
		if size > s.limit {
			return
		}
	}
	s.young[*d] = v
	s.youngBytes += size
}

// Held is what all entries take, in bytes.
func (m *Memory[V]) Held() (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += s.youngBytes + s.oldBytes
		s.mu.Unlock()
	}
	return n
}
