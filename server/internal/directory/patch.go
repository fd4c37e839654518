package directory

import (
	"slices"
	"time"

	"github.com/marque-id/marque/server/internal/identity"
)

// Patch is one member of a merge patch (RFC 7396), where absent, null and a
// value are three different things.
type Patch[T any] struct {
	Set   bool // the member stands in the body
	Null  bool // and is null
	Value T
}

// PatchTo is the patch that sets a value.
func PatchTo[T any](v T) Patch[T] { return Patch[T]{Set: true, Value: v} }

// PatchNull is the patch that clears a value.
func PatchNull[T any]() Patch[T] { return Patch[T]{Set: true, Null: true} }

// patching applies a merge patch to one resource and notes what it changed.
type patching struct {
	changed  []string // names of the members that differ now
	findings identity.Findings
}

func (p *patching) has(member string) bool { return slices.Contains(p.changed, member) }

// clearing says what null does to a member.
type clearing bool

const (
	required clearing = false // null is refused
	optional clearing = true  // null sets the zero value
)

// patch applies one member whose values compare with ==.
func patch[T comparable](p *patching, member string, to *T, from Patch[T], c clearing) {
	patchBy(p, member, to, from, c, func(a, b T) bool { return a == b })
}

// patchTime applies one member that is a time.
func patchTime(p *patching, member string, to *time.Time, from Patch[time.Time]) {
	from.Value = instant(from.Value)
	patchBy(p, member, to, from, optional, time.Time.Equal)
}

// patchList applies a list, which is replaced whole.
func patchList[T comparable](p *patching, member string, to *[]T, from Patch[[]T]) {
	patchBy(p, member, to, from, optional, slices.Equal[[]T])
}

func patchBy[T any](p *patching, member string, to *T, from Patch[T], c clearing, equal func(a, b T) bool) {
	if !from.Set {
		return
	}
	if from.Null {
		if c == required {
			p.findings.Add("/"+member, "must not be null")
			return
		}
		var zero T
		from.Value = zero
	}
	if !equal(*to, from.Value) {
		*to = from.Value
		p.changed = append(p.changed, member)
	}
}
