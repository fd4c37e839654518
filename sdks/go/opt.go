package marque

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Opt is a member that may be absent, null or a value, which are three
// different things in a merge patch (RFC 7396): absent leaves the member as it
// is, null clears it. The zero Opt is absent.
type Opt[T any] struct {
	value T
	state optState
}

type optState uint8

const (
	optAbsent optState = iota
	optNull
	optValue
)

// Value is an Opt that has a value.
func Value[T any](v T) Opt[T] { return Opt[T]{value: v, state: optValue} }

// Null is an Opt that is null.
func Null[T any]() Opt[T] { return Opt[T]{state: optNull} }

// Get returns the value and whether there is one.
func (o Opt[T]) Get() (T, bool) { return o.value, o.state == optValue }

// Or returns the value, or fallback where there is none.
func (o Opt[T]) Or(fallback T) T {
	if o.state == optValue {
		return o.value
	}
	return fallback
}

// IsNull reports whether it is null.
func (o Opt[T]) IsNull() bool { return o.state == optNull }

// IsZero reports whether it is absent. By this method encoding/json leaves an
// absent member out where the field has the tag option omitzero.
func (o Opt[T]) IsZero() bool { return o.state == optAbsent }

// MarshalJSON writes the value, or null.
func (o Opt[T]) MarshalJSON() ([]byte, error) {
	if o.state != optValue {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON reads a value or null; it is not called for an absent member.
func (o *Opt[T]) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*o = Null[T]()
		return nil
	}
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return err
	}
	*o = Value(v)
	return nil
}

// String is the value's text, "null" or "absent".
func (o Opt[T]) String() string {
	switch o.state {
	case optValue:
		return fmt.Sprint(o.value)
	case optNull:
		return "null"
	default:
		return "absent"
	}
}
