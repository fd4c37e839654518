package main

import (
	"testing"

	"github.com/marque-id/marque/generators/ir"
)

// Each emitter asks in several places what kind a type is: none of them may have
// forgotten one, wherever it stands.
func TestEveryEmitterKnowsEveryKind(t *testing.T) {
	t.Parallel()
	for _, l := range languages {
		for _, kind := range ir.Kinds() {
			of := func() *ir.Type {
				inner := &ir.Type{Kind: ir.String}
				if kind != ir.List && kind != ir.Map {
					inner = nil
				}
				return &ir.Type{Kind: kind, Bits: 32, Elem: inner, Enum: &ir.Enum{Name: "Colour"}, Model: &ir.Model{Name: "Part"}}
			}
			m := &ir.Model{Name: "Thing", Read: true}
			nullable := of()
			nullable.Nullable = true
			for name, t := range map[string]*ir.Type{
				"plain": of(), "nullable": nullable,
				"listed": {Kind: ir.List, Elem: of()}, "mapped": {Kind: ir.Map, Elem: of()},
			} {
				for suffix, required := range map[string]bool{"_required": true, "_optional": false} {
					wire := name + suffix
					m.Fields = append(m.Fields, &ir.Field{Wire: wire, Name: ir.ParseName(wire), Type: t, Required: required})
				}
			}
			if files, err := l.emit(&ir.API{Models: []*ir.Model{m}}); err != nil || len(files) == 0 {
				t.Errorf("%s, kind %d: %v", l.name, kind, err)
			}
		}
	}
}
