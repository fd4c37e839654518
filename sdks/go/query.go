package marque

import (
	"fmt"
	"net/url"
	"reflect"
	"time"
)

// setParam sets a query or form parameter, unless v is the zero value of its
// type or a nil pointer: those are absent. What a pointer points to is there,
// zero or not. Each element of a slice becomes a parameter of its own.
func setParam(to url.Values, name string, v any) {
	r := reflect.ValueOf(v)
	switch {
	case !r.IsValid() || r.IsZero():
	case r.Kind() == reflect.Pointer:
		to.Set(name, paramText(r.Elem().Interface()))
	case r.Kind() == reflect.Slice:
		for i := range r.Len() {
			to.Add(name, paramText(r.Index(i).Interface()))
		}
	default:
		to.Set(name, paramText(v))
	}
}

// paramText is how a value is sent: times in RFC 3339 and UTC, a secret as it is.
func paramText(v any) string {
	switch v := v.(type) {
	case Secret:
		return v.Reveal()
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	default:
		return fmt.Sprint(v)
	}
}
