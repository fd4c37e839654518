package httpapi

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"regexp"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/fault"
	"github.com/marque-id/marque/server/internal/jose"
	"github.com/marque-id/marque/server/internal/operation"
)

const (
	// validatedBody is where the generated handler looks for a body that has
	// been validated. It binds that value by exact names instead of decoding the
	// bytes a second time, by names of any case.
	validatedBody = "x-oapi-codegen-validated-body"

	// maxDepth is deeper than any body of the contract.
	maxDepth = 8
)

// validate is the second half of admission: the request is what the contract
// says. The OAuth endpoints have parsed theirs already, in their own way.
func (s *server) validate(c *fiber.Ctx, next fiber.Handler) error {
	e := s.contract.find(c)
	err := validateRequest(c, e)
	if err != nil && e.SignIn == operation.APIKey {
		return s.Grants.Refuse(c.UserContext(), s.begin(c).grantMeta(), err) // it will not reach the pipeline
	}
	if err != nil {
		return err
	}
	if e.keyed {
		key, err := requestKey(c, e)
		if err != nil {
			return err
		}
		s.begin(c).meta.Key = key
	}
	return next(c)
}

func validateRequest(c *fiber.Ctx, e *endpoint) error {
	if e.SignIn != operation.Bearer && e.SignIn != operation.APIKey {
		return nil
	}
	if err := validateParameters(c, e); err != nil {
		return err
	}
	if e.body == nil {
		return nil
	}
	body, err := validateBody(e, string(c.Request().Header.ContentType()), c.Request().Body())
	if err != nil {
		return err
	}
	c.Locals(validatedBody, body)
	return nil
}

// validateParameters checks path, query and headers. A query parameter that the
// operation does not have is refused: a filter that is misspelt and ignored
// would list everything.
func validateParameters(c *fiber.Ctx, e *endpoint) error {
	rawQuery := string(c.Request().URI().QueryString())
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return fault.Invalid("the query is not properly percent-encoded")
	}
	var f findings
	for name := range query {
		if !e.query[name] {
			f.add("?"+printable(name), "is not a parameter of this operation")
		}
	}
	input := &openapi3filter.RequestValidationInput{
		Request:     &http.Request{URL: &url.URL{RawQuery: rawQuery}, Header: make(http.Header)},
		PathParams:  c.AllParams(),
		QueryParams: query,
		Options:     &openapi3filter.Options{SkipSettingDefaults: true, MultiError: true},
	}
	for _, p := range e.parameters {
		values := query[p.Name]
		switch p.In {
		case openapi3.ParameterInHeader:
			if values = headerValues(c.Context(), p.Name); len(values) > 0 {
				input.Request.Header[http.CanonicalHeaderKey(p.Name)] = values
			}
		case openapi3.ParameterInPath:
			values = nil
		}
		if len(values) > 1 && !p.Schema.Value.Type.Is(openapi3.TypeArray) {
			f.add(parameterPointer(p), "stands in the request more than once")
			continue
		}
		// The validator and the generated code also take 1, T, TRUE and more.
		if p.Schema.Value.Type.Is(openapi3.TypeBoolean) && len(values) == 1 && values[0] != "true" && values[0] != "false" {
			f.add(parameterPointer(p), "%s", mustBe(p.Schema.Value))
			continue
		}
		if err := openapi3filter.ValidateParameter(c.UserContext(), input, p); err != nil {
			if p.Name == pageToken {
				return fault.New(fault.KindInvalid, fault.CodeInvalidPageToken, "this is no page token")
			}
			f.parameter(p, err)
		}
	}
	return f.err()
}

// pageToken is the parameter whose failure has a code of its own.
const pageToken = "page_token"

func parameterPointer(p *openapi3.Parameter) string {
	switch p.In {
	case openapi3.ParameterInQuery:
		return "?" + p.Name
	case openapi3.ParameterInPath:
		return "{" + p.Name + "}"
	}
	return p.Name
}

// validateBody decodes a body, once, and holds it against the schema.
func validateBody(e *endpoint, contentType string, raw []byte) (any, error) {
	if len(raw) == 0 {
		if e.bodyRequired {
			return nil, fault.Invalid("this operation needs a body of the type %s", e.mediaType)
		}
		return map[string]any{}, nil
	}
	if !isMediaType(contentType, e.mediaType) {
		return nil, fault.New(fault.KindUnsupported, fault.CodeUnsupportedMediaType, "this operation takes %s", e.mediaType)
	}
	// Before it is decoded: of two members of the same name, or of names that
	// differ in case only, decoders keep one, and not all the same one.
	if err := jose.CheckJSON(raw, maxDepth); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var body any
	if err := decoder.Decode(&body); err != nil {
		return nil, fault.Invalid("the body is not JSON")
	}
	// The validator takes its time for each unknown member. More of them than an
	// answer names are not brought before it.
	var strange findings
	if strange.unknown("", e.body, body); len(strange) > maxFindings {
		return nil, strange.err()
	}
	err := e.body.VisitJSON(body, openapi3.VisitAsRequest(), openapi3.MultiErrors(), openapi3.EnableFormatValidation())
	if err != nil {
		var f findings
		f.schema("", err)
		return nil, f.err()
	}
	return body, nil
}

// namePattern is what a name may look like to be repeated in an answer.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

func printable(name string) string {
	if namePattern.MatchString(name) {
		return name
	}
	return ""
}

// isMediaType reports whether a Content-Type names the media type, with any
// parameters (RFC 9110 section 8.3.1).
func isMediaType(contentType, want string) bool {
	if contentType == want {
		return true
	}
	got, _, err := mime.ParseMediaType(contentType)
	return err == nil && got == want
}
