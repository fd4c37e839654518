package recent

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

type value struct{ size int }

func numbered(n int) *Digest {
	var d Digest
	d[0] = byte(n)
	binary.BigEndian.PutUint64(d[8:], uint64(n))
	return &d
}

func memory(limit int) *Memory[*value] { return New(limit, func(v *value) int { return v.size }) }

func (m *Memory[V]) bytes() (n int) {
	for i := range m.shards {
		for _, v := range m.shards[i].young {
			n += m.size(v)
		}
		for _, v := range m.shards[i].old {
			n += m.size(v)
		}
	}
	return n
}

func TestItStaysWithinItsBytes(t *testing.T) {
	t.Parallel()
	const limit = 1 << 20
	m := memory(limit)
	for i := range 20_000 {
		m.Put(numbered(i), &value{640 + i%2000})
		if i%1000 == 0 && m.bytes() > limit {
			t.Fatalf("%d bytes after %d entries", m.bytes(), i)
		}
	}
	if n := m.bytes(); n > limit || n < limit/4 || n != m.Held() {
		t.Errorf("%d bytes are held, %d are told, with a limit of %d", n, m.Held(), limit)
	}
}

func TestItKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	m := memory(1 << 20)
	kept := &value{640}
	m.Put(numbered(1<<30), kept)
	for i := range 20_000 {
		m.Put(numbered(i), &value{1140})
		if m.Get(numbered(1<<30)) != kept {
			t.Fatalf("lost after %d others", i+1)
		}
	}
	if m.Get(numbered(0)) != nil {
		t.Error("what nobody used since is still there")
	}
}

func TestItTakesNothingLargerThanItself(t *testing.T) {
	t.Parallel()
	m := memory(64 << 10)
	m.Put(numbered(1), &value{8 << 10})
	if m.Get(numbered(1)) != nil || m.bytes() != 0 {
		t.Error("an entry beyond the limit of a shard was kept")
	}
}

func TestOtherTextsHaveAnotherSum(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3*common)
	for name, of := range map[string]func(key []byte) (func(*work), error){
		"GMAC": byGMAC,
		"HMAC": func(key []byte) (func(*work), error) { return byHMAC(key), nil },
	} {
		fresh := func(key byte) *Memory[*value] {
			m := memory(1 << 20)
			mac, err := of(bytes.Repeat([]byte{key}, 32))
			if err != nil {
				t.Fatal(err)
			}
			m.hash.mac = mac
			return m
		}
		m, other := fresh(1), fresh(2)
		seen := map[Digest][]string{}
		for _, texts := range [][]string{
			{}, {""}, {"", ""}, {"a"}, {"a", ""}, {"", "a"}, {"ab"}, {"a", "b"}, {"b", "a"}, {"\x00\x00\x00\x01a"}, {long}, {long + "x"}, {long, "x"},
		} {
			sum := Sum(m, texts...)
			if had, ok := seen[sum]; ok {
				t.Errorf("%s: %.20q and %.20q have the same sum", name, texts, had)
			}
			seen[sum] = texts
			if sum != Sum(m, texts...) {
				t.Errorf("%s: %.20q has two", name, texts)
			}
			if sum == Sum(other, texts...) {
				t.Errorf("%s: %.20q has the same in another memory", name, texts)
			}
			if w := m.hash.works.Get().(*work); bytes.ContainsAny(w.text[:cap(w.text)], "abx") {
				t.Errorf("%s: %.20q can still be read", name, texts)
			}
		}
	}
}

// No two memories share a key, and so what hits in one says nothing of another.
func TestEachMemoryHasSumsOfItsOwn(t *testing.T) {
	t.Parallel()
	one, other := memory(1<<20), memory(1<<20)
	if Sum(one, "a") == Sum(other, "a") {
		t.Error("two memories have the same sum of a text")
	}
}
