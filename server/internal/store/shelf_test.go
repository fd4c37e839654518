package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/marque-id/marque/server/internal/clock"
)

func TestWhatIsOnAShelfStaysAsItWas(t *testing.T) {
	t.Parallel()
	var s shelf
	var kept, want []string
	for n := range 2000 {
		text := fmt.Sprintf("%d:%s", n, strings.Repeat("x", n))
		want, kept = append(want, strings.Clone(text)), append(kept, s.keep(text))
	}
	large := strings.Repeat("y", 3*shelfSize)
	want, kept = append(want, large, "", "z"), append(kept, s.keep(large), s.keep(""), s.keep("z"))
	for n := range kept {
		if kept[n] != want[n] {
			t.Fatalf("text %d is %.40q, was %.40q", n, kept[n], want[n])
		}
	}
}

// Texts that stay must not hold those that stood beside them: here one in fifty
// is asked for all the time from then on, and the others once.
func TestWhatHasLeftTheCacheLeavesTheShelf(t *testing.T) {
	t.Parallel()
	const limit, size = 2000, 300
	c := newSnapshots(clock.System(), limit, func(_ context.Context, key string) (string, error) {
		return key + strings.Repeat(" ", size-len(key)), nil
	}, strings.TrimSpace)
	c.keep = new(shelf).keep
	ask := func(key string) {
		if v, err := c.get(t.Context(), key, "key"); err != nil || strings.TrimSpace(v) != key {
			t.Fatalf("asked for %s, got %q, %v", key, v, err)
		}
	}
	var staying []string
	for n := range 25 * limit {
		key := fmt.Sprintf("key-%d", n)
		ask(key)
		if n%50 == 0 {
			staying = append(staying, key)
		}
		for i := range 4 {
			ask(staying[(4*n+i)%len(staying)])
		}
		if n%70 == 0 {
			c.forget(staying[n%len(staying)])
		}
	}
	windows := map[uintptr]bool{} // an object lies in two of them, or in one
	for i := range c.ring {
		v := c.ring[i].value
		if got, ok := c.find(c.keyOf(v)); !ok || got != v {
			t.Fatalf("%q is not found", c.keyOf(v))
		}
		windows[uintptr(unsafe.Pointer(unsafe.StringData(v)))/shelfSize] = true
	}
	if most := 2 * 2 * (limit*size/shelfSize + 1); len(c.ring) != limit || len(windows) > most {
		t.Errorf("%d texts hold %d objects, more than %d", len(c.ring), len(windows), most)
	}
}

// Two keys with one hash are as likely as a guessed secret, but must not be
// taken for each other.
func TestAKeyIsNotTakenForAnotherWithItsHash(t *testing.T) {
	t.Parallel()
	c := newSnapshots(clock.System(), 10, func(_ context.Context, key string) (string, error) { return key, nil }, func(v string) string { return v })
	if _, err := c.get(t.Context(), "first", "key"); err != nil {
		t.Fatal(err)
	}
	for hash := range c.places { // as if it were that of the other
		c.ring[c.places[hash]].value = "second"
	}
	if v, ok := c.find("first"); ok {
		t.Errorf("found %q", v)
	}
	if v, err := c.get(t.Context(), "first", "key"); err != nil || v != "first" || len(c.ring) != 1 {
		t.Errorf("%q, %v, %d entries", v, err, len(c.ring))
	}
}
