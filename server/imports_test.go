package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/marque-id/marque/"

// room is a package of the server: what of ours it may import, and why it
// stands where it stands. Tests may reach further down, through the rooms that
// their package may import, and use testkit; they never reach up.
type room struct {
	name string
	may  string
	why  string
}

// rooms is the map of the server. Imports point down only; whatever is not in
// this list is refused, so a new arrow is a decision and not an accident.
func rooms() []room {
	const ground = "audit clock fault identity"
	return []room{
		{"server", "clock command", "main hands the process over to the commands and does nothing else"},
		{"command", "app audit clock config directory fault telemetry", "commands read the configuration, call the app and print"},
		{"app", "audit clientauth clock config directory fault feed grant httpapi identity jose keyring limit operations proxy store telemetry token", "the one place that knows every part, since it puts them together"},
		{"httpapi", "api audit clientauth clock directory fault feed grant identity jose keyring limit operation proxy recent telemetry token", "the edge turns HTTP into calls (jose: the strict reading of JSON; proxy: whose call it is) and tells telemetry of each; it never reaches past the use cases to the database"},
		{"api", "", "generated from openapi.yaml; knows nothing of ours"},
		{"operation", "api identity", "policy by operationId: a table of words; api only in the test that compares it with the contract"},
		{"directory", ground + " keyring store token", "management use cases; token only for the caller's rights"},
		{"feed", "audit clock fault identity store testkit", "what verifiers are told of revocations; who may follow is asked through a function"},
		{"grant", ground + " clientauth limit store token", "the token endpoint's pipeline; a grant never sees a key"},
		{"clientauth", ground + " jose keyring store", "proves clients; jose for signed assertions"},
		{"token", ground + " jose keyring recent store", "claims, mint, check, revoke; it alone asks the keyring to sign tokens"},
		{"limit", "audit clock fault", "counts in memory: it must work when the database does not"},
		{"keyring", ground + " jose store", "keys and their life; the master key is known here only"},
		{"jose", "fault", "bytes in, bytes out: no database, no clock, no policy"},
		{"store", ground + " migrations", "the database and nothing above it"},
		{"recent", "", "digests in, values out: it holds no text, and knows nothing of what it remembers"},
		{"audit", "clock fault identity", "what an event is and how the chain holds; no database, no keys"},
		{"identity", "fault", "the words of the domain"},
		{"fault", "", "the one error type: everything imports it, so it imports nothing"},
		{"clock", "", "the one place that knows what time it is"},
		{"config", "identity", "reads settings; identity for its masked secret"},
		{"operations", "", "what operators ask a node, on a listener of its own; it is handed what to tell and knows nothing of how to serve"},
		{"proxy", "", "the true address of a client behind balancers: bytes and networks in, an address out"},
		{"telemetry", "identity", "makes loggers and metrics; every package is handed one, or a function (identity: a masked secret, in its test)"},
		{"testkit", "audit clock store conformance/postgres", "databases for tests, on the PostgreSQL that conformance starts; never the app, which its own tests start"},
	}
}

// keeper is a dependency that few may touch, so that it can be replaced or
// guarded in one place.
type keeper struct {
	prefix string
	may    string
	tests  bool // any test may
	why    string
}

func keepers() []keeper {
	return []keeper{
		{"github.com/gofiber/", "api httpapi app", false, "fiber reuses what it hands out: no *fiber.Ctx beyond the edge"},
		{"github.com/valyala/fasthttp", "httpapi app", false, "the same engine under fiber"},
		{"github.com/oapi-codegen/", "api httpapi", false, "the runtime of generated code"},
		{"github.com/getkin/", "api httpapi operation", false, "the contract is read at the edge; operation only compares its table with it, in a test"},
		{"github.com/uptrace/", "store", false, "SQL has one home"},
		{"github.com/jackc/", "store", false, "SQL has one home"},
		{"modernc.org/", "store", false, "SQL has one home"},
		{"database/sql", "store", false, "SQL has one home"},
		{"github.com/gofrs/flock", "store", false, "the lock of the database file"},
		{"github.com/golang-jwt/", "jose", false, "its defaults accept what we must refuse: jose stands in front of it"},
		{"github.com/jonboulle/", "clock testkit", true, "time has one home; tests make fake clocks"},
		{"github.com/spf13/", "command", false, "a command line is no business of a library"},
		{"go.yaml.in/", "config", false, "the configuration file has one reader"},
		{"gopkg.in/yaml", "", false, "go.yaml.in is its maintained successor"},
		{"github.com/pires/", "proxy", false, "who may send a PROXY header is decided in one place"},
		{"github.com/prometheus/", "operations telemetry", false, "metrics are counted by telemetry and shown by operations; no global registry"},
		{"net/http", "api app httpapi operations", true, "the server speaks through fiber; this is for names of statuses, for clients in tests, and for the operators' listener, which must answer when fiber cannot"},
	}
}

// source is one parsed file of the server.
type source struct {
	room string
	path string
	test bool
	file *ast.File
	set  *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	set := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		f, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		name := "server"
		if dir := filepath.ToSlash(filepath.Dir(path)); dir != "." {
			name = strings.TrimPrefix(dir, "internal/")
		}
		all = append(all, source{name, path, strings.HasSuffix(path, "_test.go"), f, set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (s source) at(n ast.Node) string { return s.set.Position(n.Pos()).String() }

func TestImportsPointDownOnly(t *testing.T) {
	t.Parallel()
	known := map[string]room{}
	for _, r := range rooms() {
		known[r.name] = r
	}
	below := func(name string) map[string]bool {
		return reach(known, name, map[string]bool{name: true, "testkit": true})
	}
	for _, s := range sources(t) {
		r, ok := known[s.room]
		if !ok {
			t.Errorf("%s: the package %s is not on the map of rooms; put it there with what it may import, and why", s.path, s.room)
			continue
		}
		for _, i := range s.file.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			if ours, ok := strings.CutPrefix(path, module); ok {
				name := strings.TrimPrefix(strings.TrimPrefix(ours, "server/"), "internal/")
				if !strings.HasPrefix(ours, "server/") && ours != "migrations" && ours != "conformance/postgres" {
					t.Errorf("%s: imports %s, which is not part of the server", s.at(i), ours)
				} else if !slices.Contains(strings.Fields(r.may), name) && (!s.test || !below(s.room)[name]) {
					t.Errorf("%s: %s may not import %s: %s", s.at(i), s.room, name, r.why)
				}
			}
			for _, k := range keepers() {
				if strings.HasPrefix(path, k.prefix) && !slices.Contains(strings.Fields(k.may), s.room) && (!s.test || !k.tests) {
					t.Errorf("%s: %s may not import %s: %s", s.at(i), s.room, path, k.why)
				}
			}
		}
	}
}

// reach adds to seen every room below the named one.
func reach(known map[string]room, name string, seen map[string]bool) map[string]bool {
	for _, next := range strings.Fields(known[name].may) {
		if !seen[next] {
			seen[next] = true
			reach(known, next, seen)
		}
	}
	return seen
}

func TestRoomsAreNamedForWhatTheyHold(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		switch s.file.Name.Name {
		case "util", "utils", "common", "helper", "helpers", "misc", "shared", "lib":
			t.Errorf("%s: the package name %s says nothing about what is in it", s.path, s.file.Name.Name)
		}
	}
}

// TestTimeHasOneHome holds everybody, tests included, to the clock that they
// were given. Timers that only bound waiting are left out.
func TestTimeHasOneHome(t *testing.T) {
	t.Parallel()
	forbidden := map[string]string{
		"Now": "take a clock.Clock", "Since": "take a clock.Clock", "Until": "take a clock.Clock",
		"Sleep": "wait for what you are waiting for",
	}
	for _, s := range sources(t) {
		if s.room == "clock" || s.room == "api" {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := selector.X.(*ast.Ident); ok && x.Name == "time" && x.Obj == nil {
					if instead := forbidden[selector.Sel.Name]; instead != "" {
						t.Errorf("%s: time.%s: %s", s.at(n), selector.Sel.Name, instead)
					}
				}
			}
			return true
		})
	}
}

func TestNothingHappensAtImport(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.room == "api" || s.room == "testkit" {
			continue // generated; and one PostgreSQL for all tests of a process
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					t.Errorf("%s: init() runs before main can decide anything", s.at(d))
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR && !s.test {
					for _, spec := range d.Specs {
						checkVariable(t, s, d, spec.(*ast.ValueSpec))
					}
				}
			}
		}
	}
}

// checkVariable lets a package variable stand that nothing can change in a way
// that matters: an error, a compiled pattern, an embedded file, an assertion
// that a type fits an interface, an array or a value of plain data. What could
// become a registry (maps, slices, pointers, channels, locks) is refused.
func checkVariable(t *testing.T, s source, d *ast.GenDecl, v *ast.ValueSpec) {
	t.Helper()
	if d.Doc != nil && strings.Contains(d.Doc.Text(), "go:embed") {
		return
	}
	for _, group := range []*ast.CommentGroup{d.Doc, v.Doc} {
		if group != nil && slices.ContainsFunc(group.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed") }) {
			return
		}
	}
	for i, name := range v.Names {
		if name.Name == "_" {
			continue
		}
		var value ast.Expr
		if i < len(v.Values) {
			value = v.Values[i]
		}
		if !immutable(v.Type, value) {
			t.Errorf("%s: %s is a package variable that somebody could change; make it a function, or an argument", s.at(name), name.Name)
		}
	}
}

func immutable(typ, value ast.Expr) bool {
	if array, ok := typ.(*ast.ArrayType); ok && array.Len != nil {
		return true
	}
	switch v := value.(type) {
	case *ast.CallExpr:
		name := nameOf(v.Fun)
		if strings.HasPrefix(name, "fault.") {
			return true // a fault is copied before it is added to
		}
		switch name {
		case "errors.New", "fmt.Errorf", "regexp.MustCompile", "netip.MustParsePrefix", "base64.RawURLEncoding.Strict", "base64.StdEncoding.Strict", "elliptic.P256":
			return true
		}
	case *ast.CompositeLit:
		array, ok := v.Type.(*ast.ArrayType)
		return ok && array.Len != nil
	}
	return false
}

func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return nameOf(e.X) + "." + e.Sel.Name
	}
	return ""
}
