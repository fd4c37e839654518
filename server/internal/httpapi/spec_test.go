package httpapi

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/fault"
)

func TestContractAndItsExamplesAreValid(t *testing.T) {
	t.Parallel()
	if err := spec(t).Validate(context.Background(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
}

// eachOperation calls fn for every operation of the contract.
func eachOperation(t *testing.T, fn func(method, path string, op *openapi3.Operation)) {
	t.Helper()
	for path, item := range spec(t).Paths.Map() {
		for method, op := range item.Operations() {
			fn(method, path, op)
		}
	}
}

func TestOperationsFollowTheHouseRules(t *testing.T) {
	t.Parallel()
	id := regexp.MustCompile(`^[a-z_]+\.[a-z_]+$`)
	eachOperation(t, func(method, path string, op *openapi3.Operation) {
		if !id.MatchString(op.OperationID) || len(op.Tags) != 1 || op.Summary == "" {
			t.Errorf("%s %s: operationId %q, tags %v, summary %q", method, path, op.OperationID, op.Tags, op.Summary)
		}
		if op.RequestBody != nil {
			for mediaType, content := range op.RequestBody.Value.Content {
				if !exemplified(content) {
					t.Errorf("%s: the request body %s has no example", op.OperationID, mediaType)
				}
				if mediaType != formType && content.Schema.Ref == "" {
					t.Errorf("%s: the request body has no schema of its own", op.OperationID)
				}
			}
		}
		for status, response := range op.Responses.Map() {
			for mediaType, content := range response.Value.Content {
				if !exemplified(content) {
					t.Errorf("%s: the response %s has no example", op.OperationID, status)
				}
				if want := errorSchema(path, status); want != "" && content.Schema.Ref != want {
					t.Errorf("%s: %s %s is %s, want %s", op.OperationID, status, mediaType, content.Schema.Ref, want)
				}
			}
		}
		if op.Responses.Value("default") == nil {
			t.Errorf("%s does not say what any other failure looks like", op.OperationID)
		}
	})
}

func exemplified(content *openapi3.MediaType) bool {
	return content.Example != nil || content.Schema.Value.Example != nil
}

// errorSchema is the one schema of errors, or "" for a success.
func errorSchema(path, status string) string {
	switch {
	case strings.HasPrefix(status, "2"), strings.HasPrefix(status, "3"):
		return ""
	case strings.HasPrefix(path, "/oauth2/"):
		return "#/components/schemas/OAuthError"
	}
	return "#/components/schemas/Problem"
}

func TestListsArePagedInOneWay(t *testing.T) {
	t.Parallel()
	eachOperation(t, func(_, _ string, op *openapi3.Operation) {
		if !strings.HasSuffix(op.OperationID, ".list") {
			return
		}
		for _, name := range []string{"page_size", "page_token"} {
			if op.Parameters.GetByInAndName("query", name) == nil {
				t.Errorf("%s has no %s", op.OperationID, name)
			}
		}
		answer := op.Responses.Value("200").Value.Content["application/json"].Schema.Value
		if answer.Properties["items"] == nil || answer.Properties["next_page_token"] == nil || len(answer.Properties) != 2 {
			t.Errorf("%s does not answer {items, next_page_token}", op.OperationID)
		}
	})
}

// requestObjects calls fn for each object in a request body, with its pointer.
func requestObjects(t *testing.T, fn func(operation, pointer string, object *openapi3.Schema)) {
	t.Helper()
	var walk func(operation, pointer string, s *openapi3.Schema)
	walk = func(operation, pointer string, s *openapi3.Schema) {
		switch {
		case s.Type.Is(openapi3.TypeObject):
			fn(operation, pointer, s)
			for name, p := range s.Properties {
				walk(operation, pointer+"/"+name, p.Value)
			}
		case s.Type.Is(openapi3.TypeArray):
			walk(operation, pointer+"/0", s.Items.Value)
		}
	}
	eachOperation(t, func(_, _ string, op *openapi3.Operation) {
		if op.RequestBody == nil {
			return
		}
		for _, content := range op.RequestBody.Value.Content {
			walk(op.OperationID, "", content.Schema.Value)
		}
	})
}

func TestRequestObjectsAreClosed(t *testing.T) {
	t.Parallel()
	forms := formSchemas(t)
	requestObjects(t, func(operation, pointer string, object *openapi3.Schema) {
		if forms[operation] != nil || object.AdditionalProperties.Schema != nil {
			return // RFC 6749 section 3.2 wants unknown parameters ignored; labels are free
		}
		if has := object.AdditionalProperties.Has; has == nil || *has {
			t.Errorf("%s: the object at %q takes unknown members", operation, pointer)
		}
	})
}

func TestRequestTextIsBounded(t *testing.T) {
	t.Parallel()
	check := func(what string, s *openapi3.Schema) {
		if !s.Type.Is(openapi3.TypeString) || len(s.Enum) > 0 || s.Format == "date-time" {
			return
		}
		fixed := strings.HasSuffix(s.Pattern, "{25}$") || strings.HasSuffix(s.Pattern, "{25})$")
		if s.Pattern == "" || s.MaxLength == nil && !fixed {
			t.Errorf("%s: text without a pattern or a maximum length", what)
			return
		}
		for _, bad := range []string{"a\x00b", "a\nb", "a\u0085b", "a\u2028b", "a\u202eb"} {
			if s.VisitJSON(bad) == nil {
				t.Errorf("%s: %s takes %q", what, s.Pattern, bad)
			}
		}
	}
	requestObjects(t, func(operation, pointer string, object *openapi3.Schema) {
		for name, p := range object.Properties {
			check(operation+" "+pointer+"/"+name, p.Value)
			if p.Value.Items != nil {
				check(operation+" "+pointer+"/"+name+"/0", p.Value.Items.Value)
			}
		}
		if free := object.AdditionalProperties.Schema; free != nil {
			check(operation+" "+pointer+"/*", free.Value)
		}
	})
	eachOperation(t, func(_, _ string, op *openapi3.Operation) {
		for _, p := range op.Parameters {
			check(op.OperationID+" ?"+p.Value.Name, p.Value.Schema.Value)
		}
	})
}

// The strict server leaves a form's members empty, and answers 200, when their
// tags are missing.
func TestEveryFormPropertyHasAFormTag(t *testing.T) {
	t.Parallel()
	bodies := map[string]reflect.Type{
		"tokens.issue":      reflect.TypeFor[api.TokensIssueFormdataRequestBody](),
		"tokens.introspect": reflect.TypeFor[api.TokensIntrospectFormdataRequestBody](),
		"tokens.revoke":     reflect.TypeFor[api.TokensRevokeFormdataRequestBody](),
	}
	for operation, schema := range formSchemas(t) {
		body, ok := bodies[operation]
		if !ok {
			t.Errorf("%s is a form that this test does not know", operation)
			continue
		}
		var tags []string
		for i := range body.NumField() {
			name, _, _ := strings.Cut(body.Field(i).Tag.Get("form"), ",")
			tags = append(tags, name)
		}
		for name := range schema.Properties {
			if !slices.Contains(tags, name) {
				t.Errorf("%s: %s has no form tag", operation, name)
			}
		}
	}
}

func TestSecretsAreMarked(t *testing.T) {
	t.Parallel()
	secret := []string{"client_secret", "api_key", "access_token", "token"}
	check := func(where string, s *openapi3.Schema) {
		for name, p := range s.Properties {
			marked := p.Value.Extensions["x-secret"] == true
			if marked != slices.Contains(secret, name) {
				t.Errorf("%s: %s: x-secret is %v", where, name, marked)
			}
		}
	}
	for name, s := range spec(t).Components.Schemas {
		check(name, s.Value)
	}
	for operation, s := range formSchemas(t) {
		check(operation, s)
	}
}

// codesOf reads the constants of type Code that fault declares, by the comment
// of their block.
func codesOf(t *testing.T, comment string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../fault/fault.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var codes []string
	for _, d := range file.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST || !strings.HasPrefix(block.Doc.Text(), comment) {
			continue
		}
		for _, s := range block.Specs {
			code, err := strconv.Unquote(s.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, code)
		}
	}
	if len(codes) == 0 {
		t.Fatalf("no constants under the comment %q", comment)
	}
	slices.Sort(codes)
	return codes
}

func TestProblemCodesAreThoseOfFault(t *testing.T) {
	t.Parallel()
	var documented []string
	for _, v := range spec(t).Components.Schemas["ProblemCode"].Value.Enum {
		documented = append(documented, v.(string))
	}
	slices.Sort(documented)
	codes := codesOf(t, "Codes of the management API")
	if !slices.Equal(documented, codes) {
		t.Errorf("contract: %v\nfault:    %v", documented, codes)
	}
	titles := make(map[string]string)
	for _, code := range codes {
		title := titleOf(fault.Code(code))
		if other, twice := titles[title]; twice {
			t.Errorf("%s and %s have the same title", code, other)
		}
		titles[title] = code
	}
}

func TestOAuthErrorsAreDocumented(t *testing.T) {
	t.Parallel()
	documented, ok := spec(t).Components.Schemas["OAuthError"].Value.Properties["error"].Value.Extensions["x-known-values"].([]any)
	if !ok {
		t.Fatal("the error of OAuthError has no known values")
	}
	codes := slices.Concat(codesOf(t, "Codes of the management API"), codesOf(t, "Codes of the OAuth endpoints"))
	// What only a management operation, or the login by API key, can answer.
	elsewhere := []string{"invalid_page_token", "grant_exceeds_caller", "own_rights", "built_in", "name_taken",
		"in_use", "last_administrator", "limit_reached", "precondition_failed", "credential_kind_not_allowed",
		"malformed_api_key", "invalid_api_key", "idempotency_key_reused", "idempotency_key_in_progress", "secret_already_issued",
		"active_key_changed", "signing_key_not_ready"}
	for _, code := range codes {
		if slices.Contains(elsewhere, code) {
			continue
		}
		if got := oauthCode(fault.Code(code)); !slices.Contains(documented, any(string(got))) {
			t.Errorf("%s is answered as %s, which is not documented", code, got)
		}
	}
}
