package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

// What each emitter makes of the contracts in testdata/accept is kept, all files
// of it in one, so that a change of an emitter shows in a diff.
func TestWhatIsEmittedIsAsItWas(t *testing.T) {
	t.Parallel()
	specs, err := filepath.Glob("testdata/accept/*.yaml")
	if err != nil || len(specs) == 0 {
		t.Fatal("there is nothing in testdata/accept", err)
	}
	for _, spec := range specs {
		api, err := load(spec)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		for _, l := range languages {
			name := strings.TrimSuffix(filepath.Base(spec), ".yaml")
			t.Run(l.name+"/"+name, func(t *testing.T) {
				files, err := l.emit(api)
				if err != nil {
					t.Fatal(err)
				}
				var got bytes.Buffer
				for _, file := range files {
					fmt.Fprintf(&got, "-- %s --\n%s", file.Path, file.Data)
				}
				golden := filepath.Join("testdata/golden", l.name, name+".txt")
				if *update {
					if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), got.String()); diff != "" {
					t.Errorf("%s (-want +got; go test ./generators -update):\n%s", golden, diff)
				}
			})
		}
	}
}
