package store

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

// Accounts are kept unpacked that are asked for all the time, as whoever guards
// an API is, and whom it is asked about.
const (
	unpackedSets = 64
	unpackedWays = 4 // places of a set
)

// unpacked has some accounts as they come out of the cache. What is found there
// is compared with what the cache has, so it is never older.
//
// An account can be in the places of one set. Where all are taken by accounts
// that were asked for lately, a newcomer waits until one of them no longer is:
// so more accounts than there are places do not push each other out in turn.
type unpacked struct {
	seed maphash.Seed
	sets [unpackedSets][unpackedWays]unpackedPlace
}

type unpackedPlace struct {
	held   atomic.Pointer[unpackedPrincipal]
	lately atomic.Bool // it was asked for since somebody last wanted the place
}

type unpackedPrincipal struct {
	packed    packedPrincipal
	principal *Principal
}

func newUnpacked() *unpacked { return &unpacked{seed: maphash.MakeSeed()} }

// of is the account with that id, which the cache has packed.
func (u *unpacked) of(id string, packed packedPrincipal) *Principal {
	set := u.set(id)
	for i := range set {
		if had := set[i].held.Load(); had != nil && had.packed == packed {
			if !set[i].lately.Load() { // mostly set already: do not make cores fight for the line
				set[i].lately.Store(true)
			}
			return had.principal
		}
	}
	packed.own = strings.Clone(packed.own) // a place must not hold a whole shelf
	p := packed.principal()
	if place := vacant(set, id); place != nil {
		place.held.Store(&unpackedPrincipal{packed, p})
		place.lately.Store(false) // who comes once makes room for the next
	}
	return p
}

func (u *unpacked) set(id string) *[unpackedWays]unpackedPlace {
	return &u.sets[maphash.String(u.seed, id)%unpackedSets]
}

// vacant is a place for an account: that of what it was before, an empty one, or
// that of an account that was not asked for lately. It is nil where there is none.
func vacant(set *[unpackedWays]unpackedPlace, id string) *unpackedPlace {
	var empty, old *unpackedPlace
	for i := range set {
		place := &set[i]
		switch had := place.held.Load(); {
		case had == nil:
			empty = place
		case had.principal.Account.ID == id:
			return place
		case !place.lately.Load():
			old = place
		}
	}
	switch {
	case empty != nil:
		return empty
	case old == nil:
		for i := range set {
			set[i].lately.Store(false)
		}
	}
	return old
}
