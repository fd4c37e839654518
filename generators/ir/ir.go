// Package ir is what the emitters know of openapi.yaml: a small model in which
// every question that a language could answer differently (what absent and null
// mean, that enumerations are open, what is a secret, what is a page of a list)
// has been answered once.
//
// Build makes it, and refuses by leftover: a keyword of the contract that it has
// not read is an error with its place, never a silent loss.
package ir

import "slices"

// API is the whole contract in the order of its source.
type API struct {
	Title   string
	Version string
	Doc     string

	Resources  []*Resource
	Models     []*Model // pages of lists are not among them
	Enums      []*Enum  // ErrorCodes is not among them
	ErrorCodes *Enum    // the codes of every error that the API answers; nil if it has none
}

// Resource is a group of operations: what stands before the dot of their ids.
type Resource struct {
	Name       Name
	Doc        string
	Operations []*Operation
}

// Calls are the operations that are asked and answered. A stream of events is
// none: each runtime follows it by hand, and is given the operation and the
// models of its events.
func (r *Resource) Calls() []*Operation {
	return slices.DeleteFunc(slices.Clone(r.Operations), func(op *Operation) bool { return op.Stream != nil })
}

// Auth says who signs a call.
type Auth int

const (
	AuthBearer Auth = iota // an access token for the management API
	AuthClient             // the client authenticates itself, as RFC 6749 section 2.3 has it
	AuthNone               // nobody needs to
)

// Operation is one call.
type Operation struct {
	ID      string // resource.verb
	Verb    Name   // what stands after the dot
	Method  string // in capitals
	Path    string // with {parameters}
	Summary string
	Doc     string

	Auth       Auth
	Idempotent bool // may be sent again when nobody knows whether it was done
	OAuth      bool // gives or judges tokens: the shorter time limit

	PathParams []*Param // in the order of the path
	Query      []*Param
	Headers    []*Param
	Body       *Body // nil: none

	Result *Type // nil: none
	Page   *Type // of a list, the type of its items; Result is nil then
	Stream *Type // of server-sent events, a model with a member for each event by its name; both are nil then
}

// Param is a parameter in the path, the query or the header.
type Param struct {
	Wire     string
	Name     Name
	Doc      string
	Type     *Type
	Required bool
	// Unset says that the zero value of the type is never a legal value, so that
	// it may stand for a parameter that is not sent.
	Unset bool
}

// Body is what an operation sends.
type Body struct {
	Model       *Model
	Required    bool
	ContentType string
}

// Form tells whether the body is a form and not JSON.
func (b *Body) Form() bool { return b.ContentType == "application/x-www-form-urlencoded" }

// Model is an object with known members.
type Model struct {
	Name   string // as the contract spells it
	Doc    string
	Fields []*Field

	Read    bool // stands in an answer
	Written bool // stands in a request, as the body or within it
	Body    bool // is the body of a request
	Within  bool // stands within another model
	Failure bool // stands in errors alone
}

// Field is one member of a model.
type Field struct {
	Wire     string
	Name     Name
	Doc      string
	Type     *Type
	Required bool
}

// Enum is a set of known strings. It is open: any other string is legal.
type Enum struct {
	Name   string
	Doc    string
	Values []string
}

// Kind is the closed list of what a value can be.
type Kind int

const (
	String     Kind = iota
	Secret          // a string that is masked wherever it is shown
	Integer         // Bits wide
	Boolean         //
	Timestamp       // RFC 3339
	EnumOf          // Enum
	ModelOf         // Model
	List            // of Elem
	Map             // of strings to Elem
	JSONObject      // an object of which nothing is known
	kinds
)

// Kinds lists every kind, for tests that an emitter has forgotten none.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Type is what a value is.
type Type struct {
	Kind     Kind
	Nullable bool
	Bits     int
	Enum     *Enum
	Model    *Model
	Elem     *Type
}
