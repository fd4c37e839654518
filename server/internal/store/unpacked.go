package store

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// unpackedSlots is how many accounts are kept unpacked: those that are asked for
// all the time, as whoever guards an API is.
const unpackedSlots = 256

// unpacked has some accounts as they come out of the cache. What is found there
// is compared with what the cache has, so it is never older.
type unpacked struct {
	seed  maphash.Seed
	slots [unpackedSlots]atomic.Pointer[unpackedPrincipal]
}

type unpackedPrincipal struct {
	packed    packedPrincipal
	principal *Principal
}

func newUnpacked() *unpacked { return &unpacked{seed: maphash.MakeSeed()} }

// of is the account with that id, which the cache has packed.
func (u *unpacked) of(id string, packed packedPrincipal) *Principal {
	slot := &u.slots[maphash.String(u.seed, id)%unpackedSlots]
	if had := slot.Load(); had != nil && had.packed == packed {
		return had.principal
	}
	packed.own = strings.Clone(packed.own) // a slot must not hold a whole shelf
	p := packed.principal()
	slot.Store(&unpackedPrincipal{packed, p})
	return p
}
