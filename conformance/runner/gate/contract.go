package gate

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// OperationIDs are those of the contract, sorted.
func OperationIDs(document *openapi3.T) []string {
	var all []string
	each(document, func(_ *openapi3.PathItem, o *openapi3.Operation) { all = append(all, o.OperationID) })
	slices.Sort(all)
	return all
}

var quoted = regexp.MustCompile("`([a-z_]+)`")

// ErrorCodes are the codes of problem details and, as the description of the
// OAuth error names them, those of the OAuth endpoints.
func ErrorCodes(document *openapi3.T) []string {
	var all []string
	schemas := document.Components.Schemas
	if code := schemas["ProblemCode"]; code != nil {
		for _, value := range code.Value.Enum {
			all = append(all, value.(string))
		}
		if known, is := code.Value.Extensions["x-known-values"].([]any); is {
			for _, value := range known {
				all = append(all, value.(string))
			}
		}
	}
	for _, name := range []string{"OAuthErrorCode", "OAuthError"} {
		schema := schemas[name]
		if schema == nil {
			continue
		}
		if member := schema.Value.Properties["error"]; member != nil {
			schema = member
		}
		for _, found := range quoted.FindAllStringSubmatch(schema.Value.Description, -1) {
			all = append(all, found[1])
		}
		for _, value := range schema.Value.Enum {
			all = append(all, value.(string))
		}
		if known, is := schema.Value.Extensions["x-known-values"].([]any); is {
			for _, value := range known {
				all = append(all, value.(string))
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Sent are the members of an operation's request that a caller may set: "query
// name", "header name", "body name".
func Sent(document *openapi3.T) map[string][]string {
	all := map[string][]string{}
	each(document, func(item *openapi3.PathItem, o *openapi3.Operation) {
		var members []string
		for _, parameters := range []openapi3.Parameters{item.Parameters, o.Parameters} {
			for _, p := range parameters {
				if p.Value.In != "path" {
					members = append(members, p.Value.In+" "+p.Value.Name)
				}
			}
		}
		if o.RequestBody != nil {
			for _, media := range o.RequestBody.Value.Content {
				for name := range media.Schema.Value.Properties {
					members = append(members, "body "+name)
				}
			}
		}
		slices.Sort(members)
		all[o.OperationID] = slices.Compact(members)
	})
	return all
}

// Answered are the models that an operation's success is made of, by name, each
// with its members.
func Answered(document *openapi3.T) map[string]map[string][]string {
	all := map[string]map[string][]string{}
	each(document, func(_ *openapi3.PathItem, o *openapi3.Operation) {
		models := map[string][]string{}
		for status, response := range o.Responses.Map() {
			if status[0] != '2' {
				continue
			}
			for _, media := range response.Value.Content {
				collect(media.Schema, models)
			}
		}
		all[o.OperationID] = models
	})
	return all
}

// collect adds the model of a schema and of all below it.
func collect(schema *openapi3.SchemaRef, into map[string][]string) {
	if schema == nil {
		return
	}
	if schema.Ref != "" && len(schema.Value.Properties) > 0 {
		name := schema.Ref[strings.LastIndexByte(schema.Ref, '/')+1:]
		if into[name] != nil {
			return
		}
		into[name] = slices.Sorted(maps.Keys(schema.Value.Properties))
	}
	for _, property := range schema.Value.Properties {
		collect(property, into)
	}
	collect(schema.Value.Items, into)
}

func each(document *openapi3.T, do func(*openapi3.PathItem, *openapi3.Operation)) {
	for _, item := range document.Paths.Map() {
		for _, o := range item.Operations() {
			do(item, o)
		}
	}
}
