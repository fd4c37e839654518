package httpapi

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gofiber/fiber/v2"

	"github.com/marque-id/marque/server/internal/api"
	"github.com/marque-id/marque/server/internal/operation"
)

// endpoint is one operation of the contract as requests meet it.
type endpoint struct {
	operation.Operation
	parameters   []*openapi3.Parameter // of the path and of the operation
	query        map[string]bool       // names of the query parameters
	body         *openapi3.Schema      // nil: the operation takes no body
	bodyRequired bool
	mediaType    string // the one content type of the body
	keyed        bool   // it takes an Idempotency-Key
}

type route struct{ method, path string }

// contract finds the operation of a route. Policy hangs on what it finds: it is
// keyed by method and by the pattern that the router matched, never by the path
// as it was sent.
type contract struct {
	endpoints map[route]*endpoint
	// public are the patterns that browsers of any origin may read.
	public map[string]bool
}

// pathParameter is a parameter in a path template of the contract.
var pathParameter = regexp.MustCompile(`\{([a-z_]+)\}`)

// loadContract reads the embedded contract and joins it with the operation table.
func loadContract(base string) (*contract, error) {
	doc, err := api.GetSpec()
	if err != nil {
		return nil, fmt.Errorf("httpapi: the embedded contract: %w", err)
	}
	var ids []string
	for _, item := range doc.Paths.Map() {
		for _, op := range item.Operations() {
			ids = append(ids, op.OperationID)
		}
	}
	slices.Sort(ids)
	table, err := operation.Index(ids)
	if err != nil {
		return nil, err
	}

	c := &contract{endpoints: make(map[route]*endpoint), public: make(map[string]bool)}
	for template, item := range doc.Paths.Map() {
		path := base + pathParameter.ReplaceAllString(template, ":$1")
		for method, op := range item.Operations() {
			e, err := newEndpoint(table[op.OperationID], item, op)
			if err != nil {
				return nil, fmt.Errorf("httpapi: %s: %w", op.OperationID, err)
			}
			c.endpoints[route{method, path}] = e
			if method == http.MethodGet { // Fiber serves HEAD by the routes of GET
				c.endpoints[route{http.MethodHead, path}] = e
			}
			if e.SignIn == operation.None {
				c.public[path] = true
			}
		}
	}
	return c, nil
}

func newEndpoint(row operation.Operation, item *openapi3.PathItem, op *openapi3.Operation) (*endpoint, error) {
	e := &endpoint{Operation: row, query: make(map[string]bool)}
	for _, p := range slices.Concat(item.Parameters, op.Parameters) {
		e.parameters = append(e.parameters, p.Value)
		if p.Value.In == openapi3.ParameterInQuery {
			e.query[p.Value.Name] = true
		}
		if p.Value.In == openapi3.ParameterInHeader && p.Value.Name == idempotencyKey {
			e.keyed = true
		}
	}
	if op.RequestBody == nil {
		return e, nil
	}
	if len(op.RequestBody.Value.Content) != 1 {
		return nil, fmt.Errorf("a body must have exactly one content type")
	}
	e.bodyRequired = op.RequestBody.Value.Required
	for mediaType, content := range op.RequestBody.Value.Content {
		e.mediaType, e.body = mediaType, content.Schema.Value
	}
	return e, nil
}

// alias lets a second path stand for the operation of another one.
func (c *contract) alias(path, of string) {
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		c.endpoints[route{method, path}] = c.endpoints[route{method, of}]
	}
	c.public[path] = c.public[of]
}

// find is the endpoint of the route that has matched, or nil.
func (c *contract) find(ctx *fiber.Ctx) *endpoint {
	return c.endpoints[route{ctx.Method(), ctx.Route().Path}]
}

// checkRoutes refuses a route that belongs to no operation, and an operation
// that has no route. Preflight requests change nothing and carry nothing.
func (c *contract) checkRoutes(routes []fiber.Route) error {
	registered := make(map[route]bool, len(routes))
	for _, r := range routes {
		at := route{r.Method, r.Path}
		registered[at] = true
		if c.endpoints[at] == nil && !(r.Method == fiber.MethodOptions && c.public[r.Path]) {
			return fmt.Errorf("httpapi: the route %s %s belongs to no operation", r.Method, r.Path)
		}
	}
	for at, e := range c.endpoints {
		if !registered[at] {
			return fmt.Errorf("httpapi: the operation %s has no route %s %s", e.ID, at.method, at.path)
		}
	}
	return nil
}
