package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/operation"
)

// endpointOf finds an endpoint of the contract by its operationId.
func endpointOf(t *testing.T, operationID string) *endpoint {
	t.Helper()
	c, err := loadContract("")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.endpoints {
		if e.ID == operationID {
			return e
		}
	}
	t.Fatalf("no operation %s", operationID)
	return nil
}

// pointers are where the findings of a fault are.
func pointers(err error) []string {
	var at []string
	for _, f := range fault.From(err).Fields {
		at = append(at, f.Pointer)
	}
	return at
}

func TestBodiesAreHeldAgainstTheContract(t *testing.T) {
	t.Parallel()
	const create, update = "service_accounts.create", "service_accounts.update"
	cases := []struct {
		name, operation, body string
		want                  []string // pointers of the findings; nil: refused as a whole
	}{
		{"required members", create, `{}`, []string{"/name", "/owner"}},
		{"unknown member", create, `{"name":"a","owner":"o","colour":"red"}`, []string{"/colour"}},
		{"case-folded member", create, `{"name":"a","Owner":"o"}`, []string{"/Owner", "/owner"}},
		{"unknown member with an odd name", create, `{"name":"a","owner":"o","a/b\u0000":1}`, []string{"/"}},
		{"wrong types", create, `{"name":1,"owner":[],"token_lifetime":"900"}`, []string{"/name", "/owner", "/token_lifetime"}},
		{"fraction", create, `{"name":"a","owner":"o","token_lifetime":30.5}`, []string{"/token_lifetime"}},
		{"too short and too long a life", create, `{"name":"a","owner":"o","token_lifetime":29}`, []string{"/token_lifetime"}},
		{"beyond any integer", create, `{"name":"a","owner":"o","token_lifetime":1e300}`, []string{"/token_lifetime", "/token_lifetime"}},
		{"bad slug", create, `{"name":"A b","owner":"o"}`, []string{"/name"}},
		{"empty owner", create, `{"name":"a","owner":""}`, []string{"/owner"}},
		{"no such day", create, `{"name":"a","owner":"o","expires_at":"2027-02-30T00:00:00Z"}`, []string{"/expires_at"}},
		{"label that is no string", create, `{"name":"a","owner":"o","labels":{"k":1}}`, []string{"/labels/k"}},
		{"null where it clears nothing", update, `{"name":null,"owner":null,"kind":null}`, []string{"/kind", "/name", "/owner"}},
		{"null in a list", update, `{"allowed_networks":[null]}`, []string{"/allowed_networks/0"}},
		{"an array", create, `[]`, []string{""}},
		{"a string", create, `"a"`, []string{""}},
		{"null", update, `null`, []string{""}},
		{"twice the same member", create, `{"name":"a","name":"b","owner":"o"}`, nil},
		{"twice, by another case", update, `{"owner":"o","OWNER":"p"}`, nil},
		{"twice, deeper down", create, `{"name":"a","owner":"o","labels":{"k":"1","k":"2"}}`, nil},
		{"twice, with an escape", update, `{"owner":"o","\u006fwner":"p"}`, nil},
		{"too deep", create, strings.Repeat("[", 20) + strings.Repeat("]", 20), nil},
		{"not JSON", create, `{"name":`, nil},
		{"two values", create, `{"name":"a","owner":"o"} {}`, nil},
		{"not UTF-8", create, "{\"name\":\"a\",\"owner\":\"\xff\"}", nil},
		{"NaN", create, `{"name":"a","owner":"o","token_lifetime":NaN}`, nil},
		{"nothing", create, ``, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := endpointOf(t, c.operation)
			_, err := validateBody(e, e.mediaType, []byte(c.body))
			if !fault.Is(err, fault.CodeInvalidRequest) {
				t.Fatalf("got %v", err)
			}
			if got := pointers(err); !slices.Equal(got, c.want) {
				t.Errorf("findings at %q, want %q: %v", got, c.want, fault.From(err).Fields)
			}
		})
	}
}

func TestExamplesOfRequestsPass(t *testing.T) {
	t.Parallel()
	c, err := loadContract("")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range c.endpoints {
		if e.body == nil || e.SignIn != operation.Bearer {
			continue
		}
		raw, err := json.Marshal(e.body.Example)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := validateBody(e, e.mediaType+"; charset=utf-8", raw); err != nil {
			t.Errorf("%s: %s: %v", e.ID, raw, fault.From(err).Fields)
		}
	}
}

func TestAnOptionalBodyMayBeAbsent(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"client_secrets.create", "client_secrets.rotate", "role_assignments.put"} {
		if body, err := validateBody(endpointOf(t, id), "", nil); err != nil || body == nil {
			t.Errorf("%s: %v, %v", id, body, err)
		}
	}
}

func TestTheContentTypeIsTheOneOfTheContract(t *testing.T) {
	t.Parallel()
	create, update := endpointOf(t, "roles.create"), endpointOf(t, "roles.update")
	for _, c := range []struct {
		e           *endpoint
		contentType string
		ok          bool
	}{
		{create, "application/json", true},
		{create, "Application/JSON; charset=utf-8", true},
		{create, "application/merge-patch+json", false},
		{create, "application/jsonx", false},
		{create, "text/plain", false},
		{create, "application/x-www-form-urlencoded", false},
		{create, "", false},
		{update, "application/merge-patch+json", true},
		{update, "application/json", false},
		{update, "application/json-patch+json", false},
	} {
		_, err := validateBody(c.e, c.contentType, []byte(`{"name":"reader"}`))
		if c.ok != (err == nil) || !c.ok && !fault.Is(err, fault.CodeUnsupportedMediaType) {
			t.Errorf("%s with %q: %v", c.e.ID, c.contentType, err)
		}
	}
}

// PostgreSQL refuses NUL in text, which would be a 500.
func TestNulIsRefusedInEveryTextOfEveryBody(t *testing.T) {
	t.Parallel()
	c, err := loadContract("")
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, e := range c.endpoints {
		if e.body == nil || e.SignIn != operation.Bearer {
			continue
		}
		eachText(e.body, func(pointer string, wrap func(any) any) {
			tried++
			raw, err := json.Marshal(wrap("a\x00b"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = validateBody(e, e.mediaType, raw); !slices.Contains(pointers(err), pointer) {
				t.Errorf("%s: NUL at %s: %v", e.ID, pointer, err)
			}
		})
	}
	if tried < 40 {
		t.Errorf("only %d texts were found", tried)
	}
}

// eachText calls fn for each text in a schema, with its pointer and with a
// function that builds a value which has another one in its place.
func eachText(s *openapi3.Schema, fn func(pointer string, wrap func(any) any)) {
	var walk func(s *openapi3.Schema, pointer string, wrap func(any) any)
	walk = func(s *openapi3.Schema, pointer string, wrap func(any) any) {
		switch {
		case s.Type.Is(openapi3.TypeString):
			fn(pointer, wrap)
		case s.Type.Is(openapi3.TypeArray):
			walk(s.Items.Value, pointer+"/0", func(v any) any { return wrap([]any{v}) })
		case s.Type.Is(openapi3.TypeObject):
			for name, p := range s.Properties {
				walk(p.Value, pointer+"/"+name, func(v any) any { return wrap(map[string]any{name: v}) })
			}
			if free := s.AdditionalProperties.Schema; free != nil {
				walk(free.Value, pointer+"/k", func(v any) any { return wrap(map[string]any{"k": v}) })
			}
		}
	}
	walk(s, "", func(v any) any { return v })
}

func TestFindingsRepeatNoValue(t *testing.T) {
	t.Parallel()
	e := endpointOf(t, "service_accounts.create")
	for _, body := range []string{
		`{"name":"HUSH","owner":"o"}`, `{"name":"a","owner":"HUSH\u0000"}`, `{"name":"a","owner":"o","kind":"HUSH HUSH"}`,
		`{"name":"a","owner":"o","expires_at":"HUSH"}`, `{"name":"a","owner":"o","token_lifetime":"HUSH"}`,
		`{"name":"a","owner":"o","default_resource_server":"HUSH"}`, `{"name":"HUSH`,
	} {
		_, err := validateBody(e, e.mediaType, []byte(body))
		if err == nil {
			t.Errorf("%s passed", body)
			continue
		}
		f := fault.From(err)
		text := f.Detail
		for _, field := range f.Fields {
			text += field.Pointer + field.Detail
		}
		if strings.Contains(text, "HUSH") {
			t.Errorf("%s: %s", body, text)
		}
	}
}

// TestManyUnknownMembersCostNoSquare: of each object its unknown names are noted
// once, not once for each of them.
func TestManyUnknownMembersCostNoSquare(t *testing.T) {
	t.Parallel()
	e := endpointOf(t, "service_accounts.create")
	body := map[string]any{"name": "a", "owner": "o"}
	for i := range 200 {
		body[fmt.Sprintf("unknown-%d", i)] = true
	}
	var f findings
	f.schema("", e.body.VisitJSON(body, openapi3.VisitAsRequest(), openapi3.MultiErrors()))
	if len(f) != 200 {
		t.Errorf("%d findings on 200 unknown members", len(f))
	}

	e = endpointOf(t, "roles.create")
	raw := `{"name":"a","permissions":[` + strings.Repeat(`{"a":1,"b":2,"c":3},`, 400) + `{}]}`
	_, first := validateBody(e, e.mediaType, []byte(raw))
	_, second := validateBody(e, e.mediaType, []byte(raw))
	if got := pointers(first); len(got) != maxFindings || got[0] != "/permissions/0/a" || !slices.Equal(got, pointers(second)) {
		t.Errorf("findings in a list: %v", got)
	}
}
