package driver

import (
	"encoding/json"
	"reflect"
	"strings"

	marque "github.com/marque-id/marque/sdks/go"
)

// reveal is a result as wire JSON, with the secrets in it, which encoding/json
// would mask.
func reveal(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	if secret, is := v.Interface().(marque.Secret); is {
		return secret.Reveal()
	}
	if m, is := v.Interface().(json.Marshaler); is && (v.Kind() != reflect.Pointer || !v.IsNil()) && v.Kind() != reflect.Pointer {
		text, err := m.MarshalJSON()
		if err != nil {
			return err.Error()
		}
		return json.RawMessage(text)
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return reveal(v.Elem())
	case reflect.Struct:
		return members(v)
	case reflect.Slice:
		items := []any{}
		for i := range v.Len() {
			items = append(items, reveal(v.Index(i)))
		}
		return items
	case reflect.Map:
		all := object{}
		for _, key := range v.MapKeys() {
			all[key.String()] = reveal(v.MapIndex(key))
		}
		return all
	}
	return v.Interface()
}

func members(v reflect.Value) object {
	all := object{}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || name == "-" || (strings.Contains(options, "omit") && v.Field(i).IsZero()) {
			continue
		}
		all[name] = reveal(v.Field(i))
	}
	return all
}
