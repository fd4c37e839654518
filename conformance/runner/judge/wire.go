package judge

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/marque-id/marque/conformance/runner/cases"
	"github.com/marque-id/marque/conformance/runner/match"
	"github.com/marque-id/marque/conformance/runner/wire"
)

// checkWire looks at what went over the wire during the whole case.
func (r *running) checkWire() {
	exchanges := r.log.Exchanges()
	for _, e := range exchanges {
		for _, violation := range e.Violations {
			r.fail("#%d %s is not what the contract says: %s", e.Number, e.Route(), violation)
		}
		if e.BadRequest != "" && r.Live && r.Deviant == "" {
			r.fail("#%d %s is a request that the contract does not allow: %s", e.Number, e.Route(), e.BadRequest)
		}
	}
	if r.mock != nil {
		for _, route := range r.mock.Unexpected() {
			r.fail("the mock was asked for what its script does not have: %s", route)
		}
	}
	for route, expected := range r.Wire {
		route, err := r.vars.string(route)
		if err != nil {
			r.fail("%v", err)
			continue
		}
		var those []wire.Exchange
		for _, e := range exchanges {
			if e.Route() == route {
				those = append(those, e)
			}
		}
		r.checkRoute(route, &expected, those)
	}
	if r.Order != nil {
		var order []string
		for _, e := range exchanges {
			order = append(order, e.Route())
		}
		if !slices.Equal(order, r.Order) {
			r.fail("the requests were %s instead of %s", strings.Join(order, ", "), strings.Join(r.Order, ", "))
		}
	}
}

func (r *running) checkRoute(route string, expected *cases.Wire, those []wire.Exchange) {
	if expected.Count != nil && len(those) != *expected.Count {
		r.fail("%s: %d requests instead of %d", route, len(those), *expected.Count)
	}
	if expected.AtLeast != nil && len(those) < *expected.AtLeast {
		r.fail("%s: %d requests instead of at least %d", route, len(those), *expected.AtLeast)
	}
	for _, e := range those {
		r.checkRequest(expected, e)
	}
	for n := range expected.Each {
		if n >= len(those) {
			r.fail("%s: there is no request %d", route, n+1)
			break
		}
		r.checkRequest(&expected.Each[n], those[n])
	}
	for _, name := range expected.Same {
		if values := headers(those, name); len(values) != 1 || values[0] == "" {
			r.fail("%s: %s should be one and the same, not %q", route, name, values)
		}
	}
	for _, name := range expected.Distinct {
		if values := headers(those, name); len(values) != len(those) {
			r.fail("%s: %s should differ in each of %d requests: %q", route, name, len(those), values)
		}
	}
}

// headers are the distinct values of a header.
func headers(those []wire.Exchange, name string) []string {
	var values []string
	for _, e := range those {
		values = append(values, e.Header.Get(name))
	}
	slices.Sort(values)
	return slices.Compact(values)
}

func (r *running) checkRequest(expected *cases.Wire, e wire.Exchange) {
	where := fmt.Sprintf("#%d %s", e.Number, e.Route())
	for _, part := range []struct {
		name     string
		expected map[string]any
		actual   func() map[string]any
	}{
		{"header", expected.Headers, func() map[string]any { return header(e) }},
		{"query", expected.Query, func() map[string]any { return pairs(e.Query) }},
		{"form", expected.Form, func() map[string]any { return pairs(string(e.Body)) }},
	} {
		if part.expected == nil {
			continue
		}
		want, err := r.vars.expand(any(part.expected))
		if err != nil {
			r.fail("%v", err)
			return
		}
		r.differ(match.Diff(where+" "+part.name, want, part.actual()))
	}
	if expected.JSON == nil {
		return
	}
	var body any = match.Absent{}
	if len(e.Body) > 0 {
		if err := json.Unmarshal(e.Body, &body); err != nil {
			r.fail("%s: its body is no JSON: %v", where, err)
			return
		}
	}
	want, err := r.vars.expand(expected.JSON)
	if err != nil {
		r.fail("%v", err)
		return
	}
	r.differ(match.Diff(where+" body", want, body))
}

// header has the names in lower case. Basic credentials are decoded: basic has
// the client id and the secret, as they were encoded before they were joined.
func header(e wire.Exchange) map[string]any {
	all := map[string]any{}
	for name, values := range e.Header {
		all[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	if credential, is := strings.CutPrefix(e.Header.Get("Authorization"), "Basic "); is {
		if pair, err := base64.StdEncoding.DecodeString(credential); err == nil {
			all["basic"] = string(pair)
		}
	}
	return all
}

func pairs(encoded string) map[string]any {
	all := map[string]any{}
	values, err := url.ParseQuery(encoded)
	if err != nil {
		return all
	}
	for name, texts := range values {
		if len(texts) == 1 {
			all[name] = texts[0]
			continue
		}
		var list []any
		for _, text := range texts {
			list = append(list, text)
		}
		all[name] = list
	}
	return all
}

// observe keeps what the gates want to know.
func (r *running) observe(exchanges []wire.Exchange) {
	if r.live == nil {
		return
	}
	for _, e := range exchanges {
		if e.Status/100 == 2 && !slices.Contains(r.result.Exercised, e.Operation) && (e.Stream || e.Header.Get(ownRequest) == "") {
			r.result.Exercised = append(r.result.Exercised, e.Operation)
		}
		var body struct{ Code, Error string }
		if e.Status >= 400 && json.Unmarshal(e.ResponseBody, &body) == nil {
			r.result.LiveCodes = append(r.result.LiveCodes, body.Code+body.Error)
		}
	}
}
