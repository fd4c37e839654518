package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/conformance/runner/cases"
)

// Missing names what the contract has and no case tries, from the cases alone:
// operations that no live case calls, error codes that no case expects, members
// that no live case sends or looks at. It also names what cases call that the
// contract does not have.
func Missing(document *openapi3.T, all []*cases.Case) []string {
	called, codes := map[string]map[string]bool{}, map[string]bool{}
	for _, c := range all {
		for i := range c.Steps {
			read(&c.Steps[i], c.Live, called, codes)
			if c.Live {
				readStream(document, &c.Steps[i], called)
			}
		}
	}
	var missing []string
	known := map[string]bool{}
	for _, id := range OperationIDs(document) {
		known[id] = true
		if called[id] == nil {
			missing = append(missing, "no live case calls "+id)
		}
	}
	for _, code := range ErrorCodes(document) {
		if !codes[code] {
			missing = append(missing, "no case expects the error "+code)
		}
	}
	for id, members := range Sent(document) {
		for _, member := range members {
			if called[id] != nil && !called[id][member] {
				missing = append(missing, fmt.Sprintf("no live case of %s has the %s", id, member))
			}
		}
	}
	missing = append(missing, unread(document, called)...)
	for id := range called {
		if !known[id] {
			missing = append(missing, "a case calls "+id+", which the contract does not have")
		}
	}
	slices.Sort(missing)
	return missing
}

// readStream notes what a step asks of a stream of events and looks at in it. No
// SDK has a method for one: the runner reads it itself.
func readStream(document *openapi3.T, s *cases.Step, called map[string]map[string]bool) {
	if s.Events == 0 {
		return
	}
	method, target, _ := strings.Cut(s.Raw, " ")
	path, query, _ := strings.Cut(target, "?")
	item := document.Paths.Value(path)
	if item == nil || item.GetOperation(method) == nil {
		return
	}
	id := item.GetOperation(method).OperationID
	if called[id] == nil {
		called[id] = map[string]bool{}
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		called[id]["query "+name] = true
	}
	for name := range s.Headers {
		called[id]["header "+name] = true
	}
	answered(s.Expect, called[id])
	expected, _ := s.Expect.(map[string]any)
	events, _ := expected["events"].([]any)
	for _, e := range events {
		if members, is := e.(map[string]any); is {
			called[id][fmt.Sprintf("answer %v", members["event"])] = true // its name is its member of the schema
		}
	}
}

// unread names the members of models that no live case looks at in any answer.
func unread(document *openapi3.T, called map[string]map[string]bool) []string {
	read, members := map[string]bool{}, map[string]bool{}
	for id, models := range Answered(document) {
		for model, names := range models {
			for _, name := range names {
				member := model + "." + name
				members[member] = true
				read[member] = read[member] || called[id]["answer "+name]
			}
		}
	}
	var missing []string
	for member := range members {
		if !read[member] {
			missing = append(missing, "no live case looks at "+member)
		}
	}
	return missing
}

// read notes what one step calls, sends and looks at.
func read(s *cases.Step, live bool, called map[string]map[string]bool, codes map[string]bool) {
	if s.Run != nil {
		read(s.Run, live, called, codes)
	}
	note(s.Error, codes)
	note(s.Expect, codes)
	id := s.Operation()
	if id == "" || !live {
		return
	}
	if called[id] == nil {
		called[id] = map[string]bool{}
	}
	for name, value := range s.Args {
		if body, is := value.(map[string]any); is && name == "body" {
			for member := range body {
				called[id]["body "+member] = true
			}
			continue
		}
		called[id]["query "+name], called[id]["header "+name] = true, true
	}
	if s.Options["idempotency_key"] != nil {
		called[id]["header Idempotency-Key"] = true // an option of every call, no argument of any
	}
	answered(s.Expect, called[id])
	for path := range maps.Values(s.Save) {
		for name := range strings.SplitSeq(path, ".") {
			called[id]["answer "+name] = true
		}
	}
	if s.Iterate != "" {
		// The SDK's iteration is what sends and reads these.
		called[id]["query page_token"], called[id]["answer items"], called[id]["answer next_page_token"] = true, true, true
	}
}

// answered notes every name in what is expected of an answer.
func answered(expected any, into map[string]bool) {
	switch x := expected.(type) {
	case map[string]any:
		for name, value := range x {
			if !strings.HasPrefix(name, "$") {
				into["answer "+name] = true
			}
			answered(value, into)
		}
	case []any:
		for _, item := range x {
			answered(item, into)
		}
	}
}

// note finds the codes that are expected: members called code or error.
func note(expected any, codes map[string]bool) {
	members, is := expected.(map[string]any)
	if e, isError := expected.(map[string]any); isError && e != nil {
		members, is = e, true
	}
	if !is {
		return
	}
	for name, value := range members {
		if text, isText := value.(string); isText && (name == "code" || name == "error") {
			codes[text] = true
		}
		note(value, codes)
	}
}
