package httpapi

import (
	"net/netip"
	"strings"
	"time"

	"github.com/oapi-codegen/nullable"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/directory"
	"github.com/marque-id/marque/server/internal/fault"
)

// This file and its sisters convert between the contract's types and those of
// the use cases. They are pure: no clock, no context, no store.

// value is what a member says, or the zero value when it is absent.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// present leaves a member out that has the zero value.
func present[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// presentTime leaves a time out that means "never".
func presentTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// presentSeconds leaves a duration out that means "not said".
func presentSeconds(d time.Duration) *int32 {
	seconds := int32(d / time.Second) // at most 86400, by the contract
	return present(seconds)
}

func seconds(n int32) time.Duration { return time.Duration(n) * time.Second }

// each converts a list; the result is never nil, which JSON would write as null.
func each[From, To any](in []From, convert func(*From) To) []To {
	out := make([]To, len(in))
	for i := range in {
		out[i] = convert(&in[i])
	}
	return out
}

// patched converts a member of a merge patch that may be null.
func patched[From, To any](in nullable.Nullable[From], convert func(From) To) directory.Patch[To] {
	switch {
	case !in.IsSpecified():
		return directory.Patch[To]{}
	case in.IsNull():
		return directory.PatchNull[To]()
	}
	return directory.PatchTo(convert(in.MustGet()))
}

// patchedValue converts a member of a merge patch that may not be null; the
// contract has seen to it that it is not.
func patchedValue[From, To any](in *From, convert func(From) To) directory.Patch[To] {
	if in == nil {
		return directory.Patch[To]{}
	}
	return directory.PatchTo(convert(*in))
}

func same[T any](v T) T { return v }

func pageOf(size *api.PageSize, token *api.PageToken) directory.PageRequest {
	return directory.PageRequest{Size: int(value(size)), Token: value(token)}
}

// labelsOf reads the label filter, "key=value" each. One key with two values is
// refused: a map would keep one of them and find what the caller did not ask for.
func labelsOf(in *[]string) (map[string]string, error) {
	labels := make(map[string]string, len(value(in)))
	for _, label := range value(in) {
		k, v, _ := strings.Cut(label, "=")
		if other, twice := labels[k]; twice && other != v {
			return nil, fault.InvalidFields(fault.Field{Pointer: "?label", Detail: "asks for two values of one key"})
		}
		labels[k] = v
	}
	return labels, nil
}

func networks(in []netip.Prefix) *[]string {
	if len(in) == 0 {
		return nil
	}
	out := each(in, func(p *netip.Prefix) string { return p.String() })
	return &out
}
