package judge

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// variables are the values that a case may name as ${name}.
type variables map[string]any

var reference = regexp.MustCompile(`\$\{([A-Za-z0-9_. -]+)\}`)

// expand puts the values in place of their names, everywhere in value. A text
// that is one name and nothing else becomes the value itself, of its type.
func (v variables) expand(value any) (any, error) {
	switch x := value.(type) {
	case string:
		return v.text(x)
	case map[string]any:
		out := make(map[string]any, len(x))
		for name, member := range x {
			expanded, err := v.expand(member)
			if err != nil {
				return nil, err
			}
			key, err := v.text(name)
			if err != nil {
				return nil, err
			}
			out[fmt.Sprint(key)] = expanded
		}
		return out, nil
	case []any:
		out := make([]any, len(x))
		for i, item := range x {
			var err error
			if out[i], err = v.expand(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return value, nil
}

func (v variables) text(text string) (any, error) {
	if m := reference.FindStringSubmatch(text); m != nil && m[0] == text {
		value, known := v[m[1]]
		if !known {
			return nil, fmt.Errorf("there is no variable %s", text)
		}
		return value, nil
	}
	var missing error
	out := reference.ReplaceAllStringFunc(text, func(name string) string {
		value, known := v[name[2:len(name)-1]]
		if !known {
			missing = fmt.Errorf("there is no variable %s", name)
		}
		return fmt.Sprint(value)
	})
	return out, missing
}

// string expands a text that stays one.
func (v variables) string(text string) (string, error) {
	value, err := v.text(text)
	return fmt.Sprint(value), err
}

// place finds what stands at a dotted path, such as items.0.id.
func place(value any, path string) (any, error) {
	if path == "." {
		return value, nil
	}
	for name := range strings.SplitSeq(path, ".") {
		switch x := value.(type) {
		case map[string]any:
			member, there := x[name]
			if !there {
				return nil, fmt.Errorf("there is no %s", path)
			}
			value = member
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(x) {
				return nil, fmt.Errorf("there is no %s", path)
			}
			value = x[i]
		default:
			return nil, fmt.Errorf("there is no %s", path)
		}
	}
	return value, nil
}
