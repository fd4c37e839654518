package ir

import (
	"slices"
	"strings"
)

// enums collects the enumerations as they are met and settles their names at the
// end, when all are known.
//
// The contract writes an enumeration wherever it is needed, so that one stands in
// ServiceAccount, in ServiceAccountCreate and in a query parameter of
// service_accounts.list. These are one type, named after the first, when they have
// the same wire name and the same values.
type enums struct {
	seen []*enumUse
}

type enumUse struct {
	place place
	enum  *Enum
}

// add notes an enumeration and gives the one that stands for it until settle.
func (e *enums) add(at place, doc string, values []any, o *object) *Enum {
	enum := &Enum{Doc: doc}
	for _, value := range values {
		s, ok := value.(string)
		if !ok || slices.Contains(enum.Values, s) {
			o.refuse("enum", "an enumeration is a list of different strings, which %v is not", value)
			continue
		}
		enum.Values = append(enum.Values, s)
	}
	for _, use := range e.seen {
		if use.place == at && slices.Equal(use.enum.Values, enum.Values) {
			return use.enum
		}
	}
	e.seen = append(e.seen, &enumUse{at, enum})
	return enum
}

// settle names the enumerations, makes one of those that are the same, and
// gathers the codes of errors in one.
func (e *enums) settle(api *API) (all []*Enum, codes *Enum) {
	codes = e.errorCodes(api)
	stand := make(map[*Enum]*Enum)
	for _, use := range e.seen {
		owner := e.owner(use)
		if owner.enum.Name == "" {
			owner.enum.Name = enumName(owner.place)
			all = append(all, owner.enum)
		}
		stand[use.enum] = owner.enum
	}
	eachType(api, func(t *Type) {
		if t.Kind == EnumOf && t.Enum != codes {
			t.Enum = stand[t.Enum]
		}
	})
	return all, codes
}

// ways are how the name of a request, and that of the list of a resource, goes on
// after the name of what it is about.
var ways = []string{"Create", "Update", "Put", "sList"}

// owner is the use that gives an enumeration its name.
func (e *enums) owner(use *enumUse) *enumUse {
	for _, other := range e.seen {
		rest, begins := strings.CutPrefix(use.place.holder, other.place.holder)
		if begins && slices.Contains(ways, rest) && other.place.wire == use.place.wire && slices.Equal(other.enum.Values, use.enum.Values) {
			return other
		}
	}
	return use
}

func enumName(at place) string { return at.holder + ParseName(at.wire).Plain() }

// errorCodes takes the enumerations out that are codes of errors and makes one
// of them: a client asks for the code of an error, whichever of the two forms
// (RFC 9457, RFC 6749) it came in.
func (e *enums) errorCodes(api *API) *Enum {
	codes := &Enum{Name: "ErrorCode", Doc: "What went wrong, for a program to act on."}
	merged := make(map[*Enum]bool)
	for _, m := range api.Models {
		for _, f := range m.Fields {
			if !isErrorCode(m, f) {
				continue
			}
			for _, value := range f.Type.Enum.Values {
				if !slices.Contains(codes.Values, value) {
					codes.Values = append(codes.Values, value)
				}
			}
			merged[f.Type.Enum] = true
			f.Type.Enum = codes
		}
	}
	e.seen = slices.DeleteFunc(e.seen, func(use *enumUse) bool { return merged[use.enum] })
	if len(codes.Values) == 0 {
		return nil
	}
	return codes
}

// isErrorCode knows the two members that the house rules fix: the code of a
// Problem and the error of an OAuthError.
func isErrorCode(m *Model, f *Field) bool {
	return f.Type.Kind == EnumOf &&
		(m.Name == ProblemSchema && f.Wire == "code" || m.Name == OAuthErrorSchema && f.Wire == "error")
}

// The schemas of errors, by the house rules.
const (
	ProblemSchema    = "Problem"
	OAuthErrorSchema = "OAuthError"
)

// eachType visits every type that the API mentions.
func eachType(api *API, visit func(*Type)) {
	seen := make(map[*Type]bool)
	var walk func(*Type)
	walk = func(t *Type) {
		if t == nil || seen[t] {
			return
		}
		seen[t] = true
		visit(t)
		walk(t.Elem)
	}
	for _, m := range api.Models {
		for _, f := range m.Fields {
			walk(f.Type)
		}
	}
	for _, r := range api.Resources {
		for _, op := range r.Operations {
			walk(op.Result)
			walk(op.Page)
			for _, p := range slices.Concat(op.PathParams, op.Query, op.Headers) {
				walk(p.Type)
			}
		}
	}
}
