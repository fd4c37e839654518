package judge

import (
	"fmt"
	"regexp"

	"github.com/getkin/kin-openapi/openapi3"
)

// operation is where the parameters of one operation stand.
type operation struct {
	path []string          // names, in the order of the template
	in   map[string]string // name → path, query, header
}

var placeholder = regexp.MustCompile(`\{([^}]+)\}`)

func operations(document *openapi3.T) map[string]operation {
	all := map[string]operation{}
	for template, item := range document.Paths.Map() {
		for _, o := range item.Operations() {
			op := operation{in: map[string]string{}}
			for _, found := range placeholder.FindAllStringSubmatch(template, -1) {
				op.path = append(op.path, found[1])
			}
			for _, parameters := range []openapi3.Parameters{item.Parameters, o.Parameters} {
				for _, p := range parameters {
					op.in[p.Value.Name] = p.Value.In
				}
			}
			all[o.OperationID] = op
		}
	}
	return all
}

// arrange sorts the arguments of a step into the places that the protocol has
// for them.
func (s *Session) arrange(id string, args map[string]any, into map[string]any) error {
	op, known := s.operations[id]
	if !known {
		return fmt.Errorf("the contract has no operation %s", id)
	}
	query, headers := map[string]any{}, map[string]any{}
	for name, value := range args {
		switch in := op.in[name]; {
		case name == "body":
			into["body"] = value
		case in == "query":
			query[name] = value
		case in == "header":
			headers[name] = value
		case in != "path":
			return fmt.Errorf("%s has no parameter %s", id, name)
		}
	}
	var path []any
	for _, name := range op.path {
		value, there := args[name]
		if !there {
			return fmt.Errorf("%s needs %s", id, name)
		}
		path = append(path, value)
	}
	if path != nil {
		into["path"] = path
	}
	if len(query) > 0 {
		into["query"] = query
	}
	if len(headers) > 0 {
		into["headers"] = headers
	}
	return nil
}
