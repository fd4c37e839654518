// Package conformance holds what the runner and the drivers of the SDKs agree on.
package conformance

import _ "embed"

// Protocol is protocol.json.
//
//go:embed protocol.json
var Protocol []byte
