// Command generators writes what every SDK knows of openapi.yaml. It is run by
// `make generate` at the root of the repository and needs Go alone.
//
//	go run ./generators [-check] [-lang go,python,typescript] [-spec openapi.yaml] [-root .]
//
// The way through the folder is the way of a contract: load.go reads it, lint.go
// holds it against the rules of the house, ir makes a small model of it, and one
// emitter a language writes that down with the tools of emit.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/marque-id/marque/generators/emit"
	"github.com/marque-id/marque/generators/golang"
	"github.com/marque-id/marque/generators/ir"
	"github.com/marque-id/marque/generators/python"
	"github.com/marque-id/marque/generators/typescript"
)

// language is an emitter: what it writes and which files are its own.
type language struct {
	name  string
	owned []string // patterns; what matches and is not emitted any more is deleted
	emit  func(*ir.API) ([]emit.File, error)
}

// languages lists the emitters. One more is a package beside these and a line
// here: rust/ for sdks/rust, cli/ for the commands of sdks/cli.
var languages = []language{
	{"go", golang.Owned, golang.Emit},
	{"python", python.Owned, python.Emit},
	{"typescript", typescript.Owned, typescript.Emit},
}

func main() {
	spec := flag.String("spec", "", "the contract; openapi.yaml in the root when empty")
	root := flag.String("root", ".", "the folder that sdks/ is in")
	only := flag.String("lang", "", "the languages to write, with commas; all when empty")
	check := flag.Bool("check", false, "write nothing; list what is not as the contract gives it, and fail if that is anything")
	flag.Parse()
	if *spec == "" {
		*spec = filepath.Join(*root, "openapi.yaml")
	}
	if err := run(*spec, *root, *only, *check); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(spec, root, only string, check bool) error {
	chosen, err := choose(only)
	if err != nil {
		return err
	}
	api, err := load(spec)
	if err != nil {
		return err
	}
	var stale []string
	for _, l := range chosen {
		files, err := l.emit(api)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		differing, err := compare(root, l.owned, files)
		if err != nil {
			return err
		}
		if !check {
			if err := write(root, differing, files); err != nil {
				return err
			}
			continue
		}
		stale = append(stale, differing...)
	}
	if len(stale) > 0 {
		return fmt.Errorf("not as %s gives it (run make generate):\n%s", filepath.Base(spec), strings.Join(stale, "\n"))
	}
	return nil
}

// choose gives the languages of a list with commas.
func choose(only string) ([]language, error) {
	if only == "" {
		return languages, nil
	}
	var chosen []language
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(languages, func(l language) bool { return l.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no emitter for %q", name)
		}
		chosen = append(chosen, languages[i])
	}
	return chosen, nil
}
