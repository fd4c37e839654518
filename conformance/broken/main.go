// Command broken is the driver of the Go SDK with a bug put in: a fake of an SDK
// that somebody got wrong. bugs.yaml names the cases that must notice each bug,
// and the runner sees to it that they do. A case that no broken driver has ever
// failed shows little.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/marque-id/marque/conformance/drivers/go/driver"
)

func main() {
	name := flag.String("bug", "", "which bug to have: a name in bugs.yaml")
	flag.Parse()
	bend, known := bugs()[*name]
	if !known {
		fmt.Fprintf(os.Stderr, "there is no bug %q\n", *name)
		os.Exit(2)
	}
	if err := driver.Serve(os.Stdin, os.Stdout, bend); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
