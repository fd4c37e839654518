package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/ir"
)

// exceptions are the types that differ, and why. One that does not differ any
// more fails the test, too.
var exceptions = map[string]string{
	"Contract":     "an object of which nothing is known takes anything here, and nothing at openapi-typescript",
	"contract.get": "answers Contract",
}

// openapi-typescript reads the same contract on its own: its types and ours have
// to be assignable to each other, schema by schema and operation by operation.
func TestTheTypesAreThoseOfAnotherGenerator(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the TypeScript SDK")
	}
	t.Parallel()
	api, err := load(contract)
	if err != nil {
		t.Fatal(err)
	}
	sdk := filepath.Join(t.TempDir(), "typescript")
	copyTree(t, "../sdks/typescript", sdk)
	link(t, "../sdks/typescript/node_modules", filepath.Join(sdk, "node_modules"))
	spec, err := filepath.Abs(contract)
	if err != nil {
		t.Fatal(err)
	}
	// Left alone, it takes a member with a default for one that is always there, also
	// in a request.
	command(t, sdk, "node_modules/.bin/openapi-typescript", spec, "--default-non-nullable", "false", "-o", "src/theirs.ts")
	save(t, filepath.Join(sdk, "src/oracle.ts"), text(t, "testdata/oracle.ts"))
	save(t, filepath.Join(sdk, "src/compared.ts"), comparison(api))
	command(t, sdk, "node_modules/.bin/tsc", "-p", "tsconfig.build.json", "--noEmit", "--pretty")
}

// comparison is a module that compiles if all types are the same, but those of
// the exceptions.
func comparison(api *ir.API) string {
	w := emit.New("  ")
	w.Line(`import type * as ours from "./generated/models.js";`)
	w.Line(`import type * as calls from "./generated/resources.js";`)
	w.Line(`import type { Answer, Body, Given, Missing, Query, Same, Schemas } from "./oracle.js";`)
	w.Line(`import type { operations } from "./theirs.js";`)
	count := 0
	same := func(name, mine, theirs string) {
		_, differs := exceptions[name]
		w.Line("export const compared%d: Same<%s, %s> = %t; // %s", count, mine, theirs, !differs, name)
		count++
	}
	elsewhere := []string{`"Problem"`, `"ProblemField"`, `"ProblemInUse"`, `"ProblemUser"`, `"OAuthError"`} // what ApiError, by hand, has
	for _, m := range api.Models {
		if m.Failure || strings.HasSuffix(m.Name, "Request") {
			continue // the forms stand at their operations
		}
		same(m.Name, "ours."+m.Name, fmt.Sprintf("Schemas[%q]", m.Name))
		elsewhere = append(elsewhere, fmt.Sprintf("%q", m.Name))
	}
	for _, r := range api.Resources {
		class := "calls." + r.Name.Pascal() + "API"
		for _, op := range r.Calls() {
			method, theirs := fmt.Sprintf("%s[%q]", class, op.Verb.PlainCamel()), fmt.Sprintf("operations[%q]", op.ID)
			same(op.ID, "Given<"+method+">", "Answer<"+theirs+">")
			if op.Page != nil {
				elsewhere = append(elsewhere, fmt.Sprintf("%q", op.Page.Model.Name+"List"))
			}
			if op.Body != nil {
				same(op.ID+", body", fmt.Sprintf("NonNullable<Parameters<%s>[%d]>", method, len(op.PathParams)), "Body<"+theirs+">")
			}
			if len(op.Query) > 0 {
				same(op.ID+", query", fmt.Sprintf("NonNullable<Parameters<%s>[%d]>", method, len(op.PathParams)), "Query<"+theirs+">")
			}
		}
	}
	w.Line("export const missing: [Missing<%s>] extends [never] ? true : false = true;", strings.Join(elsewhere, " | "))
	return w.String()
}
