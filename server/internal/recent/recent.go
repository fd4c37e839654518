// Package recent remembers what was found out about a text for as long as it is
// asked for, bounded in bytes. It knows texts by their digests and holds none.
package recent

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"
)

// Digest stands for a text, or for several one after the other, in one memory.
//
// It is the GMAC (NIST SP 800-38D) of their lengths and texts, under a key of the
// memory and always the same nonce. That would not do for a MAC that anybody
// sees; but no digest leaves the process, and all that is asked of one is what
// GHASH is by itself: under a key that nobody knows, two texts of at most n
// blocks share a digest with a probability of at most (n+1)/2^128, whoever has
// chosen them (McGrew and Viega, "The Security and Performance of the
// Galois/Counter Mode of Operation", 2004). It takes a fifth of the time of
// SHA-256, which was the dearest part of a recalled introspection. Where GMAC may
// not be used so, it is HMAC-SHA-256.
type Digest [16]byte

// hash makes the digests of one memory.
type hash struct {
	mac   func(w *work) // puts what the text hashes to into the sum
	works sync.Pool     // of *work
}

// work is the memory that making one takes. Nothing of a text stays in it.
type work struct {
	text  []byte
	nonce [12]byte // zero
	sum   Digest
}

// common is how long texts are at most, nearly always.
const common = 2 << 10

func newHash() *hash {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	mac, err := byGMAC(key[:])
	if err != nil {
		mac = byHMAC(key[:])
	}
	return &hash{mac: mac, works: sync.Pool{New: func() any { return &work{text: make([]byte, 0, common)} }}}
}

// byGMAC fails where a process may do only what FIPS 140 approves of: a nonce of
// our own is not among that.
func byGMAC(key []byte) (func(*work), error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	mac, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return func(w *work) { mac.Seal(w.sum[:0], w.nonce[:], nil, w.text) }, nil
}

// byHMAC is HMAC-SHA-256, cut to the same length.
func byHMAC(key []byte) func(*work) {
	return func(w *work) {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write(w.text) // never fails
		copy(w.sum[:], mac.Sum(nil))
	}
}

// Sum is the digest of texts in a memory: other texts, and the same cut
// elsewhere, have another.
func Sum[V comparable, T string | []byte](m *Memory[V], texts ...T) Digest {
	w := m.hash.works.Get().(*work)
	w.text = w.text[:0]
	for _, t := range texts {
		w.text = binary.BigEndian.AppendUint32(w.text, uint32(len(t)))
		w.text = append(w.text, t...)
	}
	m.hash.mac(w)
	sum := w.sum
	clear(w.text)
	m.hash.works.Put(w)
	return sum
}

const shards = 16

// Memory is a bounded memory of values. Each shard has a young and an old
// generation: when the young one is full it becomes the old one, and what was
// old is gone at once. An entry that is used moves to the young one.
type Memory[V comparable] struct {
	size   func(V) int
	hash   *hash
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
	m := &Memory[V]{size: size, hash: newHash()}
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
