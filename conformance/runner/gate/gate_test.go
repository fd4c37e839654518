package gate_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/conformance/runner/cases"
	"github.com/marque-id/marque/conformance/runner/gate"
	"github.com/marque-id/marque/conformance/runner/judge"
)

// root is the repository.
const root = "../../.."

func load(t *testing.T, change func(string) string) (*openapi3.T, []*cases.Case) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "openapi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapi3.NewLoader().LoadFromData([]byte(change(string(text))))
	if err != nil {
		t.Fatal(err)
	}
	all, err := cases.Load(filepath.Join(root, "conformance", "cases"))
	if err != nil {
		t.Fatal(err)
	}
	return document, all
}

func TestEverythingInTheContractHasACase(t *testing.T) {
	t.Parallel()
	document, all := load(t, func(text string) string { return text })
	if missing := gate.Missing(document, all); len(missing) > 0 {
		t.Errorf("no case for:\n%s", strings.Join(missing, "\n"))
	}
}

// TestWhatIsNewInTheContractIsNamed is the gate's side of the generator's
// measure: an endpoint and fields are added, and the gate asks for their cases.
func TestWhatIsNewInTheContractIsNamed(t *testing.T) {
	t.Parallel()
	document, all := load(t, func(text string) string {
		for _, insertion := range [][2]string{
			{"paths:\n", "  /v1/moods:\n    get:\n      operationId: moods.list\n      responses:\n        '200':\n          description: Moods.\n"},
			{"description: A service account to create.\n      additionalProperties: false\n      required: [name, owner]\n      properties:\n", "        mood:\n          type: string\n"},
			{"required: [id, name, description, permissions, built_in, created_at, updated_at]\n      properties:\n", "        colour:\n          type: string\n"},
			{"        - internal\n", "        - bad_mood\n"},
		} {
			before, after, found := strings.Cut(text, insertion[0])
			if !found {
				t.Fatalf("openapi.yaml has no %q", insertion[0])
			}
			text = before + insertion[0] + insertion[1] + after
		}
		return text
	})
	want := []string{
		"no case expects the error bad_mood",
		"no live case calls moods.list",
		"no live case looks at Role.colour",
		"no live case of service_accounts.create has the body mood",
	}
	if missing := gate.Missing(document, all); !slices.Equal(missing, want) {
		t.Errorf("missing:\n%s", strings.Join(missing, "\n"))
	}
}

func TestACaseOfWhatTheContractLostIsNamed(t *testing.T) {
	t.Parallel()
	document, all := load(t, func(text string) string {
		return strings.Replace(text, "operationId: whoami.get", "operationId: whoami.look", 1)
	})
	missing := gate.Missing(document, all)
	if !slices.Contains(missing, "a case calls whoami.get, which the contract does not have") {
		t.Errorf("missing: %v", missing)
	}
}

func TestSeenNamesWhatOneSDKNeverDid(t *testing.T) {
	t.Parallel()
	document, _ := load(t, func(text string) string { return text })
	whole := func(sdk string, without string) *judge.Result {
		r := &judge.Result{Case: &cases.Case{Live: true}, SDK: sdk, Database: "sqlite", Codes: gate.ErrorCodes(document), LiveCodes: gate.ErrorCodes(document)}
		for _, id := range gate.OperationIDs(document) {
			if id != without {
				r.Exercised = append(r.Exercised, id)
			}
		}
		return r
	}
	if missing := gate.Seen(document, []*judge.Result{whole("a", ""), whole("b", "")}, nil); missing != nil {
		t.Errorf("a whole run misses %v", missing)
	}
	missing := gate.Seen(document, []*judge.Result{whole("a", ""), whole("b", "roles.get")}, map[string]string{"internal": "never"})
	want := []string{
		"b on sqlite never made roles.get succeed",
		"the real server answered internal, which is said to be out of reach: never",
	}
	if !slices.Equal(missing, want) {
		t.Errorf("missing: %q", missing)
	}
}

func TestDeclarations(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "go.txt")
	text := "# a comment\n\nfails a/one -- not yet\ncannot b/* -- no such thing here\nfails a/gone -- was repaired\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := gate.ReadDeclared(file)
	if err != nil {
		t.Fatal(err)
	}
	if why, ok := d.Fails(&cases.Case{Suite: "a", Name: "one"}); !ok || why != "not yet" {
		t.Errorf("a/one: %q, %v", why, ok)
	}
	if _, ok := d.Cannot(&cases.Case{Suite: "b", Name: "any"}); !ok {
		t.Error("b/any is not declared")
	}
	if _, ok := d.Fails(&cases.Case{Suite: "b", Name: "any"}); ok {
		t.Error("b/any may not fail")
	}
	if stale := d.Stale(); len(stale) != 1 || !strings.Contains(stale[0], "a/gone") {
		t.Errorf("stale: %q", stale)
	}
	if err := os.WriteFile(file, []byte("fails a/one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gate.ReadDeclared(file); err == nil {
		t.Error("a declaration without a reason is taken")
	}
}
