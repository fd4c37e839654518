// Command go is the conformance driver of the Go SDK.
package main

import (
	"fmt"
	"os"

	"github.com/marque-id/marque/conformance/drivers/go/driver"
)

func main() {
	if err := driver.Serve(os.Stdin, os.Stdout, driver.Bent{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
