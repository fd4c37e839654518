package match_test

import (
	"encoding/json"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/marque-id/marque/conformance/runner/match"
)

// TestDiff holds each matcher to what it lets pass and what not: a matcher that
// lets everything pass would make every case green.
func TestDiff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expected, good, bad string }{
		{`a`, `"a"`, `"b"`},
		{`3`, `3`, `4`},
		{`3`, `3.0`, `"3"`},
		{`null`, `null`, `0`},
		{`{a: 1}`, `{"a":1,"b":2}`, `{"b":2}`},
		{`{a: null}`, `{"a":null}`, `{}`},
		{`[1, 2]`, `[1,2]`, `[1]`},
		{`{a: {$absent: true}}`, `{"b":1}`, `{"a":null}`},
		{`{a: {$any: true}}`, `{"a":null}`, `{}`},
		{`{$match: ^x}`, `"xy"`, `"yx"`},
		{`{$contains: x}`, `"yx"`, `"y"`},
		{`{$len: 2}`, `[1,2]`, `[1]`},
		{`{$len: 2}`, `"ab"`, `5`},
		{`{$between: [1, 2]}`, `1.5`, `2.1`},
		{`{$one_of: [a, b]}`, `"b"`, `"c"`},
		{`{$not: a}`, `"b"`, `"a"`},
		{`{$only: {a: 1}}`, `{"a":1}`, `{"a":1,"b":2}`},
		{`{$each: {$between: [0, 1]}}`, `[0,1,0.5]`, `[0,2]`},
		{`{$has: {a: 1}}`, `[{"a":2},{"a":1}]`, `[{"a":2}]`},
		{`{$has: a}`, `{"a":2}`, `{"b":2}`},
	} {
		var expected any
		if err := yaml.Unmarshal([]byte(c.expected), &expected); err != nil {
			t.Fatal(err)
		}
		if diff := match.Diff("it", expected, decoded(t, c.good)); diff != nil {
			t.Errorf("%s refuses %s: %v", c.expected, c.good, diff)
		}
		if match.Diff("it", expected, decoded(t, c.bad)) == nil {
			t.Errorf("%s lets %s pass", c.expected, c.bad)
		}
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}
