package protocol

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/marque-id/marque/conformance"
)

// schemas are the parts of protocol.json that messages are checked against.
type schemas struct {
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	parts    map[string]*jsonschema.Schema
}

var contract = sync.OnceValues(func() (*schemas, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(conformance.Protocol))
	if err != nil {
		return nil, fmt.Errorf("protocol.json: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("protocol.json", document); err != nil {
		return nil, fmt.Errorf("protocol.json: %w", err)
	}
	return &schemas{compiler: compiler, parts: map[string]*jsonschema.Schema{}}, nil
})

// check validates the JSON in text against one definition, such as "request"
// or "results/call".
func check(definition string, text []byte) error {
	s, err := contract()
	if err != nil {
		return err
	}
	s.mu.Lock()
	part := s.parts[definition]
	if part == nil {
		if part, err = s.compiler.Compile("protocol.json#/$defs/" + definition); err != nil {
			s.mu.Unlock()
			return fmt.Errorf("protocol.json has no usable $defs/%s: %w", definition, err)
		}
		s.parts[definition] = part
	}
	s.mu.Unlock()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return part.Validate(value)
}
