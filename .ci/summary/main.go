// The summary program reads what `go test -json` prints and says it shorter:
// one line for each package, the output of what failed, and as the last line
// how many tests passed and failed. It exits 1 when anything failed, and when
// no test ran at all.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// event is one line of test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

func main() {
	passed, failed, broken := 0, 0, false
	output := map[string][]string{}
	failedIn := map[string]int{} // by package
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // the go command itself speaks, not a test
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output":
			if !strings.HasPrefix(e.Output, "=== ") { // who runs and who waits
				output[key] = append(output[key], e.Output)
			}
		case "build-output":
			fmt.Print(e.Output)
		case "pass":
			if e.Test == "" {
				fmt.Printf("ok    %s  %.1fs\n", e.Package, e.Elapsed)
			} else {
				passed++
			}
			delete(output, key)
		case "skip":
			if e.Test == "" {
				fmt.Printf("-     %s  no test files\n", e.Package)
			} else {
				fmt.Printf("skip  %s %s\n", e.Package, e.Test)
			}
			delete(output, key)
		case "fail":
			if e.Test == "" {
				if failedIn[e.Package] == 0 {
					failed++ // it does not build, or died outside a test
				}
				fmt.Printf("FAIL  %s  %.1fs\n", e.Package, e.Elapsed)
			} else {
				failed++
				failedIn[e.Package]++
				fmt.Printf("FAIL  %s %s\n", e.Package, e.Test)
			}
			fmt.Print(strings.Join(output[key], ""))
			delete(output, key)
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "summary:", err)
		broken = true
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if broken || failed > 0 || passed == 0 {
		os.Exit(1)
	}
}
