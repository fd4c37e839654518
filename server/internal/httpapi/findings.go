package httpapi

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/server/internal/fault"
)

// findings are what is wrong with a request. They are in our own words: the
// validator's repeat values and internal names.
type findings []fault.Field

// maxFindings is enough for a human and too few to make an answer much larger
// than its request.
const maxFindings = 20

func (f *findings) add(pointer, format string, args ...any) {
	*f = append(*f, fault.Field{Pointer: pointer, Detail: fmt.Sprintf(format, args...)})
}

// err is nil when nothing was found. The order is stable, so that one request
// always gets one answer.
func (f findings) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b fault.Field) int { return strings.Compare(a.Pointer, b.Pointer) })
	f = slices.Compact(f)
	return fault.InvalidFields(f[:min(len(f), maxFindings)]...)
}

// parameter notes what the validator says of a parameter.
func (f *findings) parameter(p *openapi3.Parameter, err error) {
	before := len(*f)
	var schemaError *openapi3.SchemaError
	if errors.As(err, &schemaError) {
		f.schemaError(parameterPointer(p), schemaError)
	}
	if len(*f) == before { // it could not even be decoded
		f.add(parameterPointer(p), "%s", mustBe(p.Schema.Value))
	}
}

// schema notes what the validator says of a body.
func (f *findings) schema(base string, err error) {
	f.schemaOnce(base, err, map[string]bool{})
}

// schemaOnce looks at the names of an object once. The validator reports each
// unknown one by an error of its own that holds the whole object: looking at it
// each time would take the square of what a caller sends.
func (f *findings) schemaOnce(base string, err error, named map[string]bool) {
	var several openapi3.MultiError
	if errors.As(err, &several) {
		for _, e := range several {
			f.schemaOnce(base, e, named)
		}
		return
	}
	var one *openapi3.SchemaError
	if !errors.As(err, &one) {
		f.add(base, "is not valid")
		return
	}
	at := pointerTo(base, one.JSONPointer())
	if one.SchemaField == "properties" {
		if named[at] {
			return
		}
		named[at] = true
	}
	f.schemaError(at, one)
}

// unknown notes members that an object of the schema does not have, in a fixed
// order, until there are more than an answer names.
func (f *findings) unknown(at string, s *openapi3.Schema, value any) {
	switch v := value.(type) {
	case map[string]any:
		closed := s.AdditionalProperties.Has != nil && !*s.AdditionalProperties.Has
		for _, name := range slices.Sorted(maps.Keys(v)) {
			switch p := s.Properties[name]; {
			case p != nil:
				f.unknown(pointerTo(at, []string{name}), p.Value, v[name])
			case closed:
				f.add(pointerTo(at, []string{printable(name)}), "is not a member of this object")
			}
		}
	case []any:
		for i := 0; s.Items != nil && i < len(v) && len(*f) <= maxFindings; i++ {
			f.unknown(pointerTo(at, []string{strconv.Itoa(i)}), s.Items.Value, v[i])
		}
	}
}

func (f *findings) schemaError(at string, err *openapi3.SchemaError) {
	if object, ok := err.Value.(map[string]any); ok && err.SchemaField == "properties" {
		for name := range object {
			if err.Schema.Properties[name] == nil {
				f.add(pointerTo(at, []string{printable(name)}), "is not a member of this object")
			}
		}
		return
	}
	f.add(at, "%s", describe(err))
}

// describe says what must be, never what is: it may be long, hostile, or a
// secret in the wrong place.
func describe(err *openapi3.SchemaError) string {
	s := err.Schema
	switch err.SchemaField {
	case "required":
		return "is required"
	case "nullable":
		return "must not be null"
	case "enum":
		return fmt.Sprintf("must be one of %v", s.Enum)
	case "pattern":
		if s.Pattern == textPattern {
			return "must not contain control characters"
		}
		return "must match " + s.Pattern
	case "minLength":
		return "must not be empty"
	case "maxLength":
		return fmt.Sprintf("must not be longer than %d characters", *s.MaxLength)
	case "minimum":
		return fmt.Sprintf("must not be less than %v", *s.Min)
	case "maximum":
		return fmt.Sprintf("must not be more than %v", *s.Max)
	case "maxItems":
		return fmt.Sprintf("must not have more than %d items", *s.MaxItems)
	case "maxProperties":
		return fmt.Sprintf("must not have more than %d members", *s.MaxProps)
	}
	return mustBe(s)
}

// textPattern is the pattern of free text in the contract.
const textPattern = `^[^\x00-\x1F\x7F-\x9F\u2028-\u202E\u2066-\u2069]*$`

// mustBe says what type a value must have.
func mustBe(s *openapi3.Schema) string {
	switch {
	case s.Format == "date-time":
		return "must be a date and time of RFC 3339, such as 2026-11-02T09:30:00Z"
	case s.Type.Is(openapi3.TypeInteger):
		return "must be a whole number"
	case s.Type.Is(openapi3.TypeString):
		return "must be a string"
	case s.Type.Is(openapi3.TypeArray):
		return "must be an array"
	case s.Type.Is(openapi3.TypeObject):
		return "must be an object"
	case s.Type.Is(openapi3.TypeBoolean):
		return "must be true or false"
	}
	return "is not valid"
}

// pointerTo appends reference tokens to a JSON pointer (RFC 6901 section 3).
func pointerTo(base string, tokens []string) string {
	for _, t := range tokens {
		base += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(t)
	}
	return base
}
