// Package match compares what a case expects with what was seen.
//
// An expected object names members that must be there; others may be there too.
// An expected list has exactly those items, in order. An object whose one member
// begins with $ is a matcher:
//
//	{$match: regex}  {$contains: text}  {$any: true}  {$absent: true}  {$len: 3}
//	{$between: [low, high]}  {$one_of: [a, b]}  {$not: x}  {$only: {…}} (no other members)
//	{$each: x} (every item of a list)  {$has: x} (one item of a list, or a member's name)
package match

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
)

// Absent is a member that is not there.
type Absent struct{}

// Diff says in which ways actual is not what is expected; none when it is.
func Diff(where string, expected, actual any) []string {
	switch want := expected.(type) {
	case map[string]any:
		if name, argument, ok := matcher(want); ok {
			return special(where, name, argument, actual)
		}
		return object(where, want, actual)
	case []any:
		return list(where, want, actual)
	}
	if a, b := number(expected), number(actual); a != nil && b != nil && *a == *b {
		return nil
	}
	if _, none := actual.(Absent); !none && reflect.DeepEqual(expected, actual) {
		return nil
	}
	return differs(where, expected, actual)
}

func differs(where string, expected, actual any) []string {
	return []string{fmt.Sprintf("%s: expected %s, got %s", where, Show(expected), Show(actual))}
}

func matcher(m map[string]any) (string, any, bool) {
	if len(m) != 1 {
		return "", nil, false
	}
	for name, argument := range m {
		if strings.HasPrefix(name, "$") {
			return name, argument, true
		}
	}
	return "", nil, false
}

func object(where string, want map[string]any, actual any) []string {
	got, ok := actual.(map[string]any)
	if !ok {
		return differs(where, want, actual)
	}
	var all []string
	for name, expected := range want {
		value, there := got[name]
		if !there {
			value = Absent{}
		}
		all = append(all, Diff(where+"."+name, expected, value)...)
	}
	return all
}

func list(where string, want []any, actual any) []string {
	got, ok := actual.([]any)
	if !ok || len(got) != len(want) {
		return differs(where, want, actual)
	}
	var all []string
	for i := range want {
		all = append(all, Diff(fmt.Sprintf("%s[%d]", where, i), want[i], got[i])...)
	}
	return all
}

func special(where, name string, argument, actual any) []string {
	_, absent := actual.(Absent)
	ok := false
	switch name {
	case "$any":
		ok = !absent
	case "$absent":
		ok = absent
	case "$match":
		text, is := actual.(string)
		ok = is && regexp.MustCompile(fmt.Sprint(argument)).MatchString(text)
	case "$contains":
		text, is := actual.(string)
		ok = is && strings.Contains(text, fmt.Sprint(argument))
	case "$len":
		n := number(argument)
		ok = n != nil && length(actual) == int(*n)
	case "$between":
		bounds, _ := argument.([]any)
		value := number(actual)
		ok = len(bounds) == 2 && value != nil && *number(bounds[0]) <= *value && *value <= *number(bounds[1])
	case "$one_of":
		for _, candidate := range argument.([]any) {
			ok = ok || Diff("", candidate, actual) == nil
		}
	case "$not":
		ok = !absent && Diff("", argument, actual) != nil
	case "$only":
		want, _ := argument.(map[string]any)
		got, is := actual.(map[string]any)
		ok = is && len(got) <= len(want) && object(where, want, actual) == nil
	case "$each":
		items, is := actual.([]any)
		ok = is
		for i, item := range items {
			if diff := Diff(fmt.Sprintf("%s[%d]", where, i), argument, item); diff != nil {
				return diff
			}
		}
	case "$has":
		ok = has(argument, actual)
	default:
		return []string{where + ": the case uses an unknown matcher " + name}
	}
	if ok {
		return nil
	}
	return differs(where, map[string]any{name: argument}, actual)
}

func has(argument, actual any) bool {
	switch got := actual.(type) {
	case []any:
		for _, item := range got {
			if Diff("", argument, item) == nil {
				return true
			}
		}
	case map[string]any:
		_, there := got[fmt.Sprint(argument)]
		return there
	}
	return false
}

func length(value any) int {
	if text, is := value.(string); is {
		return len(text)
	}
	if items, is := value.([]any); is {
		return len(items)
	}
	if members, is := value.(map[string]any); is {
		return len(members)
	}
	return -1
}

func number(value any) *float64 {
	var f float64
	switch n := value.(type) {
	case int:
		f = float64(n)
	case int64:
		f = float64(n)
	case uint64:
		f = float64(n)
	case float64:
		f = n
	default:
		return nil
	}
	return &f
}

// Show is a value in one line.
func Show(value any) string {
	if _, none := value.(Absent); none {
		return "nothing"
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	const most = 400
	if len(text) > most {
		return fmt.Sprintf("%s… (%d bytes)", text[:most], len(text))
	}
	return string(text)
}
