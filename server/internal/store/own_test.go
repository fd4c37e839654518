package store

import (
	"context"
	"testing"
	"unsafe"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/fault"
)

// A key that is kept as it came would keep the form that it is part of, with
// the secret in it, for as long as the account is cached.
func TestCachedKeyIsNoPartOfARequest(t *testing.T) {
	t.Parallel()
	form := "client_id=known&client_secret=s&client_id=unknown"
	known, unknown := form[10:15], form[42:]
	c := newSnapshots(clock.System(), 10, func(_ context.Context, key string) (string, error) {
		if key == unknown {
			return "", fault.NotFound(key)
		}
		return key, nil
	}, func(v string) string { return v })
	inForm := func(s string) bool {
		at, from := uintptr(unsafe.Pointer(unsafe.StringData(s))), uintptr(unsafe.Pointer(unsafe.StringData(form)))
		return at >= from && at < from+uintptr(len(form))
	}
	if v, err := c.get(t.Context(), known, "key"); err != nil || v != known || inForm(v) {
		t.Errorf("loaded %q, %v, part of the form: %t", v, err, inForm(v))
	}
	if _, err := c.get(t.Context(), unknown, "key"); !fault.Is(err, fault.CodeNotFound) {
		t.Error(err)
	}
	if len(c.places) != 1 || len(c.unknown) != 1 {
		t.Fatalf("%d known, %d unknown", len(c.places), len(c.unknown))
	}
	for key := range c.unknown {
		if inForm(key) {
			t.Errorf("the unknown key %q is part of the form", key)
		}
	}
}
