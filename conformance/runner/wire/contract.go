package wire

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
)

// Contract checks exchanges against openapi.yaml.
type Contract struct {
	Document *openapi3.T
	router   routers.Router
}

// LoadContract reads openapi.yaml.
func LoadContract(file string) (*Contract, error) {
	document, err := openapi3.NewLoader().LoadFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	document.Servers = nil // any host: a proxy has another port each time
	router, err := legacy.NewRouter(document)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &Contract{Document: document, router: router}, nil
}

var options = &openapi3filter.Options{
	AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true,
	RejectWhenRequestBodyNotSpecified: true, IncludeResponseStatus: true, MultiError: true,
}

// Checked is a request that has been checked, for its response to be.
type Checked struct {
	Operation  string
	BadRequest string

	input  *openapi3filter.RequestValidationInput
	events *openapi3.Schema // of a stream, once it has begun
}

// Request tells which operation a request calls and whether it may be so.
func (c *Contract) Request(method string, target *url.URL, header http.Header, body []byte) *Checked {
	request := &http.Request{
		Method: method, URL: &url.URL{Path: target.Path, RawPath: target.RawPath, RawQuery: target.RawQuery},
		Header: header.Clone(), Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	route, path, err := c.router.FindRoute(request)
	if err != nil {
		return &Checked{BadRequest: err.Error()}
	}
	input := &openapi3filter.RequestValidationInput{Request: request, PathParams: path, Route: route, Options: options}
	checked := &Checked{Operation: route.Operation.OperationID, input: input}
	if len(body) == 0 {
		request.Body, request.ContentLength = http.NoBody, 0
	}
	err = openapi3filter.ValidateRequest(context.Background(), input)
	if err == nil {
		err = unknownQuery(route.PathItem, route.Operation, target.Query())
	}
	if err != nil {
		checked.BadRequest = brief(err)
	}
	return checked
}

// unknownQuery refuses what openapi3filter lets pass: the contract says that
// unknown query parameters are errors.
func unknownQuery(item *openapi3.PathItem, operation *openapi3.Operation, query url.Values) error {
	for name := range query {
		if operation.Parameters.GetByInAndName("query", name) == nil && item.Parameters.GetByInAndName("query", name) == nil {
			return errors.New("the operation has no query parameter " + name)
		}
	}
	return nil
}

// Response tells in which ways the response is not what the contract says.
func (c *Checked) Response(status int, header http.Header, body []byte) []string {
	if c.input == nil {
		return nil // no operation: nothing is said about it
	}
	var violations []string
	if header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = unpack(body); err != nil {
			return []string{"response: it is not gzip, which it says it is: " + err.Error()}
		}
	}
	if header.Get("X-Request-Id") == "" {
		violations = append(violations, "the response has no X-Request-Id")
	}
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: c.input, Status: status, Header: header,
		Body: io.NopCloser(bytes.NewReader(body)), Options: options,
	})
	if err != nil {
		violations = append(violations, "response: "+brief(err))
	}
	return violations
}

func unpack(body []byte) ([]byte, error) {
	if len(body) == 0 { // 304, or the answer to HEAD
		return body, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// brief is the error without the schemas that kin-openapi prints with it.
func brief(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\nSchema:")
	return strings.Join(strings.Fields(text), " ")
}
