package driver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	marque "github.com/marque-id/marque/sdks/go"
)

// call finds the method of an operationId by its name, fills its arguments from
// the wire and calls it. That the SDK's methods are found so is part of what is
// judged: their names follow from the contract.
func call(ctx context.Context, c *client, r *Request) Answer {
	resource, name, _ := strings.Cut(r.Operation, ".")
	api := fieldByName(reflect.ValueOf(c.Client).Elem().FieldByName("Resources"), resource)
	if !api.IsValid() {
		return fault("the client has no resource %s", resource)
	}
	list := name == "list"
	if list && r.Op == "call" {
		name = "list_page"
	}
	method := methodByName(api, name)
	if !method.IsValid() {
		return fault("%s has no method %s", resource, name)
	}
	var response marque.Response
	arguments, err := r.arguments(ctx, method.Type(), &response)
	if err != nil {
		return fault("%s: %v", r.Operation, err)
	}
	results := method.Call(arguments)
	if r.Op == "iterate" {
		return r.iterate(results[0])
	}
	if err, _ := results[len(results)-1].Interface().(error); err != nil {
		return refused(err)
	}
	ok := object{"value": nil, "status": response.Status, "request_id": response.RequestID(), "text": ""}
	if etag := response.ETag(); etag != "" {
		ok["etag"] = etag
	}
	if len(results) == 2 {
		ok["value"], ok["text"] = reveal(results[0]), printed(results[0].Interface())
	}
	return Answer{OK: ok}
}

func fieldByName(v reflect.Value, wire string) reflect.Value {
	plain := strings.ReplaceAll(wire, "_", "")
	return v.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, plain) })
}

func methodByName(v reflect.Value, wire string) reflect.Value {
	plain := strings.ReplaceAll(wire, "_", "")
	for i := range v.NumMethod() {
		if strings.EqualFold(v.Type().Method(i).Name, plain) {
			return v.Method(i)
		}
	}
	return reflect.Value{}
}

// arguments are the context, the path parameters, then the query parameters or
// the body in a struct, then options.
func (r *Request) arguments(ctx context.Context, method reflect.Type, response *marque.Response) ([]reflect.Value, error) {
	path := r.Path
	var all []reflect.Value
	for i := range method.NumIn() - 1 {
		switch in := method.In(i); {
		case i == 0:
			all = append(all, reflect.ValueOf(ctx))
		case in.Kind() == reflect.String:
			if len(path) == 0 {
				return nil, fmt.Errorf("there are too few path parameters")
			}
			all = append(all, reflect.ValueOf(path[0]).Convert(in))
			path = path[1:]
		default:
			value := reflect.New(in)
			text := []byte(r.Body)
			if strings.HasSuffix(in.String(), "Params") {
				var err error
				if text, err = json.Marshal(r.Query); err != nil {
					return nil, err
				}
			}
			if len(text) > 0 {
				if err := fill(value, text); err != nil {
					return nil, err
				}
			}
			all = append(all, value.Elem())
		}
	}
	for _, option := range r.callOptions(response) {
		all = append(all, reflect.ValueOf(option))
	}
	return all, nil
}

func (r *Request) callOptions(response *marque.Response) []marque.CallOption {
	all := []marque.CallOption{marque.WithResponse(response)}
	for name, value := range r.Headers {
		if name == "If-Match" {
			all = append(all, marque.IfMatch(value))
		} else {
			all = append(all, marque.WithHeader(name, value))
		}
	}
	for name, value := range r.Options.Headers {
		all = append(all, marque.WithHeader(name, value))
	}
	if r.Options.Timeout > 0 {
		all = append(all, marque.WithTimeout(seconds(r.Options.Timeout)))
	}
	if r.Options.Retries != nil {
		all = append(all, marque.WithRetries(*r.Options.Retries))
	}
	if r.Options.IdempotencyKey != "" {
		all = append(all, marque.WithIdempotencyKey(r.Options.IdempotencyKey))
	}
	return all
}

// fill reads wire JSON into a struct. The ones for queries and forms have no tags:
// their fields are found by name, which encoding/json does when the _ is left out.
func fill(into reflect.Value, text []byte) error {
	element := into.Type().Elem()
	for element.Kind() == reflect.Pointer {
		element = element.Elem()
	}
	if element.NumField() > 0 && element.Field(0).Tag.Get("json") == "" {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			return err
		}
		plain := map[string]json.RawMessage{}
		for name, value := range members {
			plain[strings.ReplaceAll(name, "_", "")] = value
		}
		var err error
		if text, err = json.Marshal(plain); err != nil {
			return err
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into.Interface())
}

// iterate ranges over a sequence of items and errors.
func (r *Request) iterate(sequence reflect.Value) Answer {
	items := []any{}
	var failure error
	for item, err := range sequence.Seq2() {
		if failure, _ = err.Interface().(error); failure != nil {
			return refused(failure)
		}
		items = append(items, reveal(item))
		if len(items) == r.Limit {
			break
		}
	}
	return Answer{OK: object{"items": items}}
}
