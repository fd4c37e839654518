package main

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/generators/ir"
)

// validate checks a document against OpenAPI, its examples against their schemas.
func validate(doc *openapi3.T) (findings ir.Findings) {
	err := doc.Validate(context.Background(), openapi3.EnableMultiError(), openapi3.EnableExamplesValidation())
	all := openapi3.MultiError{err}
	if many := (openapi3.MultiError)(nil); errors.As(err, &many) {
		all = many
	}
	for _, err := range all {
		if err != nil {
			findings.At(origin(err), "%s", strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	return findings
}

// origin digs the place out of an error of the validator: each of its kinds of
// error has an Origin of its own, on some level.
func origin(err error) (at openapi3.Location) {
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		if field := v.FieldByName("Origin"); field.IsValid() {
			if o, ok := field.Interface().(*openapi3.Origin); ok && o != nil {
				at = ir.Key(o)
			}
		}
	}
	return at
}

// linter holds a document against the rules of the house.
type linter struct {
	doc      *openapi3.T
	findings ir.Findings
}

func lint(doc *openapi3.T) ir.Findings {
	l := &linter{doc: doc}
	for path, item := range inOrder(doc.Paths.Map()) {
		for method, op := range inOrder(item.Operations()) {
			parameters := slices.Concat(item.Parameters, op.Parameters)
			l.operation(method, path, op)
			l.list(op, parameters)
			l.key(method, op, parameters)
		}
	}
	l.members()
	l.unused()
	return l.findings
}

func (l *linter) at(op *openapi3.Operation, keyword, format string, args ...any) {
	l.findings.At(ir.Place(op.Origin, keyword), format, args...)
}

func (l *linter) operation(method, path string, op *openapi3.Operation) {
	if len(op.Tags) != 1 || l.doc.Tags.Get(op.Tags[0]) == nil {
		l.at(op, "tags", "%s: an operation has one tag, which is declared under tags", op.OperationID)
	}
	if op.Summary == "" || strings.HasSuffix(strings.TrimSpace(op.Summary), ".") {
		l.at(op, "summary", "%s: an operation has a summary, which does not end in a full stop", op.OperationID)
	}
	if retry, ok := op.Extensions["x-idempotent"]; ok {
		if _, isBool := retry.(bool); !isBool || method != "POST" && method != "PATCH" {
			l.at(op, "x-idempotent", "%s: x-idempotent is true or false and stands on POST and PATCH alone: what the others are, RFC 9110 says", op.OperationID)
		}
	}
	if op.RequestBody != nil {
		l.example(op, "requestBody", op.RequestBody.Value.Content)
	}
	for status, response := range inOrder(op.Responses.Map()) {
		if status[0] == '2' {
			l.example(op, "responses", response.Value.Content)
		} else if status != "304" {
			l.failure(op, path, status, response.Value)
		}
	}
	if op.Responses.Default() == nil {
		l.at(op, "responses", "%s: an operation has a default response, for the errors that are not its own", op.OperationID)
	}
}

// example asks for one, of the body itself or of its schema; that it is valid, is
// checked by validate.
func (l *linter) example(op *openapi3.Operation, keyword string, content openapi3.Content) {
	for _, media := range inOrder(content) {
		if media.Example == nil && (media.Schema == nil || media.Schema.Value.Example == nil) {
			l.at(op, keyword, "%s: there is no example of the content of %s", op.OperationID, keyword)
		}
	}
}

// failure asks that an error is the one problem schema, or at the OAuth endpoints
// that of RFC 6749.
func (l *linter) failure(op *openapi3.Operation, path, status string, response *openapi3.Response) {
	contentType, schema := "application/problem+json", ir.ProblemSchema
	if strings.HasPrefix(path, ir.OAuthPath) {
		contentType, schema = "application/json", ir.OAuthErrorSchema
	}
	media := response.Content[contentType]
	if len(response.Content) != 1 || media == nil || media.Schema == nil || media.Schema.Ref != "#/components/schemas/"+schema {
		l.at(op, "responses", "%s: the %s response is %s with the schema %s", op.OperationID, status, contentType, schema)
	}
}

// key asks that what takes an Idempotency-Key is sent with one: the runtimes do
// that for a POST that may be sent again, and for nothing else.
func (l *linter) key(method string, op *openapi3.Operation, parameters openapi3.Parameters) {
	takes := parameters.GetByInAndName("header", ir.IdempotencyKey) != nil
	if takes && (method != "POST" || op.Extensions["x-idempotent"] != true) {
		l.at(op, "operationId", "%s: what takes an Idempotency-Key is a POST with x-idempotent: true, since it may be sent again", op.OperationID)
	}
}

// list asks that what is called list comes in pages, and that nothing else does.
func (l *linter) list(op *openapi3.Operation, parameters openapi3.Parameters) {
	asks := parameters.GetByInAndName("query", "page_size") != nil && parameters.GetByInAndName("query", "page_token") != nil
	answers := false
	if ok := op.Responses.Status(200); ok != nil && ok.Value.Content["application/json"] != nil {
		if schema := ok.Value.Content["application/json"].Schema; schema != nil {
			properties := schema.Value.Properties
			answers = len(properties) == 2 && properties["items"] != nil && properties["next_page_token"] != nil
		}
	}
	if isList := strings.HasSuffix(op.OperationID, ".list"); asks != isList || answers != isList {
		l.at(op, "operationId", "%s: what is called list takes page_size and page_token and answers items and next_page_token, and nothing else does", op.OperationID)
	}
}
