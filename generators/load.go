package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/generators/ir"
)

// load reads a contract, checks it against OpenAPI itself and against the rules
// of the house, and makes the model of it. What is wrong is found all at once:
// the error is an ir.Findings.
func load(path string) (*ir.API, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(filepath.Base(path), data)
}

// parse is load for a contract in memory, name being its name in findings.
func parse(name string, data []byte) (*ir.API, error) {
	loader := openapi3.NewLoader()
	loader.IncludeOrigin = true
	doc, err := loader.LoadFromData(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if doc.Info == nil || doc.Paths == nil {
		return nil, fmt.Errorf("%s: a contract has info and paths", name)
	}
	findings := validate(doc)
	findings = append(findings, lint(doc)...)
	api, refused := ir.Build(doc)
	findings = append(findings, refused...)
	if len(findings) > 0 {
		for i := range findings {
			findings[i].File = name
		}
		return nil, findings.Sorted()
	}
	return api, nil
}
