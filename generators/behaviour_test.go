package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The measure of the generators: a field and an endpoint are added to a copy of
// the contract, everything is generated into copies of the SDKs, and there they
// are, in each language: compiled under its strictest checks, imported, and run
// against replies that are the same for all. What each program saw and sent has to
// be the same, too.
func TestAnEndpointAndAFieldReachEveryLanguage(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles three SDKs")
	}
	t.Parallel()
	spec := filepath.Join(t.TempDir(), "openapi.yaml")
	save(t, spec, extended(t))
	want := decode(t, text(t, "testdata/behaviour/expected.json"))
	for language, behave := range map[string]func(*testing.T, string, string) string{
		"go": behaveInGo, "python": behaveInPython, "typescript": behaveInTypeScript,
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			copyTree(t, filepath.Join("../sdks", language), filepath.Join(root, "sdks", language))
			if err := run(spec, root, language, false); err != nil {
				t.Fatal(err)
			}
			replies, err := filepath.Abs("testdata/behaviour/replies.json")
			if err != nil {
				t.Fatal(err)
			}
			got := decode(t, behave(t, filepath.Join(root, "sdks", language), replies))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// What a new endpoint has no case for, the gate of the conformance suite names.
func TestTheConformanceGateNamesWhatHasNoCase(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the conformance suite")
	}
	t.Parallel()
	spec := filepath.Join(t.TempDir(), "openapi.yaml")
	save(t, spec, extended(t))
	gate := exec.CommandContext(t.Context(), "go", "run", "./conformance/runner", "-gates", "-spec", spec)
	gate.Dir = ".."
	out, err := gate.CombinedOutput()
	if err == nil {
		t.Error("the gate lets it pass")
	}
	for _, want := range []string{"service_accounts.greet", "ServiceAccount.nickname"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s is not named in:\n%s", want, out)
		}
	}
}

// extended is the contract with a field and an endpoint more.
func extended(t *testing.T) string {
	t.Helper()
	all := text(t, contract)
	for anchor, more := range map[string]string{
		"        status:\n          type: string\n          description: Whether it may sign in.\n": `        nickname:
          type: string
          description: What its friends call it.
`,
		"  /v1/service-accounts/{service_account_id}/revocations:\n": `  /v1/service-accounts/{service_account_id}/greetings:
    parameters:
      - $ref: '#/components/parameters/ServiceAccountId'
    post:
      operationId: service_accounts.greet
      tags: [service-accounts]
      summary: Greet a service account
      requestBody:
        required: true
        content:
          application/json:
            schema:
              $ref: '#/components/schemas/Greeting'
      responses:
        '200':
          description: What it answers.
          content:
            application/json:
              schema:
                $ref: '#/components/schemas/Greeting'
        default:
          $ref: '#/components/responses/Failure'
`,
		"    ServiceAccountRevocation:\n": `    Greeting:
      type: object
      description: A greeting.
      required: [words]
      properties:
        words:
          type: string
          description: What is said.
      example:
        words: good day
`,
	} {
		if strings.Count(all, anchor) != 1 {
			t.Fatalf("the contract does not have exactly once: %s", anchor)
		}
		all = strings.Replace(all, anchor, more+anchor, 1)
	}
	return all
}

func behaveInGo(t *testing.T, sdk, replies string) string {
	save(t, filepath.Join(sdk, "behave/main.go"), text(t, "testdata/behaviour/behave.go"))
	command(t, sdk, "go", "vet", ".", "./behave")
	return command(t, sdk, "go", "run", "./behave", replies)
}

func behaveInPython(t *testing.T, sdk, replies string) string {
	link(t, "../sdks/python/.venv", filepath.Join(sdk, ".venv"))
	save(t, filepath.Join(sdk, "src/behave.py"), text(t, "testdata/behaviour/behave.py"))
	command(t, sdk, ".venv/bin/ruff", "format", "--check", "src/marque/_generated")
	command(t, sdk, ".venv/bin/ruff", "check", "src/marque/_generated")
	command(t, sdk, ".venv/bin/pyright", "src")
	return command(t, sdk, "env", "PYTHONPATH=src", ".venv/bin/python", "src/behave.py", replies)
}

func behaveInTypeScript(t *testing.T, sdk, replies string) string {
	link(t, "../sdks/typescript/node_modules", filepath.Join(sdk, "node_modules"))
	save(t, filepath.Join(sdk, "src/behave.ts"), text(t, "testdata/behaviour/behave.ts"))
	command(t, sdk, "node_modules/.bin/tsc", "-p", "tsconfig.build.json", "--outDir", "behave")
	return command(t, sdk, "node", "behave/behave.js", replies)
}

// command runs a program in a folder and gives what it printed.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, stderr.String())
	}
	return string(out)
}

// link makes what an SDK needs to be checked (its virtual environment, its
// node_modules) reachable from a copy of it.
func link(t *testing.T, target, path string) {
	t.Helper()
	if _, err := os.Stat(target); err != nil {
		t.Fatalf("the SDK has not been set up: %v (its folder's check does that, as does make test)", err)
	}
	absolute, err := filepath.Abs(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(absolute, path); err != nil {
		t.Fatal(err)
	}
}

// copyTree copies the sources of an SDK, without what is installed or built there.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch name := entry.Name(); {
		case entry.IsDir() && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "dist" || name == "build") && path != from:
			return filepath.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		save(t, filepath.Join(to, relative), text(t, path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func decode(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func text(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func save(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}
