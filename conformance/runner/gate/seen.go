package gate

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/marque-id/marque/conformance/runner/judge"
)

// Seen holds the results of a whole run to the contract: each SDK made every
// operation succeed at the real server on each database, each SDK told every
// error code, and the real server produced every code but those that unreachable
// names.
func Seen(document *openapi3.T, results []*judge.Result, unreachable map[string]string) []string {
	type session struct{ sdk, database string }
	exercised, told, live := map[session]map[string]bool{}, map[string]map[string]bool{}, map[string]bool{}
	for _, r := range results {
		if told[r.SDK] == nil {
			told[r.SDK] = map[string]bool{}
		}
		for _, code := range r.Codes {
			told[r.SDK][code] = true
		}
		for _, code := range r.LiveCodes {
			live[code] = true
		}
		if !r.Case.Live {
			continue
		}
		at := session{r.SDK, r.Database}
		if exercised[at] == nil {
			exercised[at] = map[string]bool{}
		}
		for _, id := range r.Exercised {
			exercised[at][id] = true
		}
	}
	var missing []string
	for at, ids := range exercised {
		for _, id := range OperationIDs(document) {
			if !ids[id] {
				missing = append(missing, fmt.Sprintf("%s on %s never made %s succeed", at.sdk, at.database, id))
			}
		}
	}
	for _, code := range ErrorCodes(document) {
		why, excused := unreachable[code]
		switch {
		case !live[code] && !excused:
			missing = append(missing, "the real server never answered "+code)
		case live[code] && excused:
			missing = append(missing, fmt.Sprintf("the real server answered %s, which is said to be out of reach: %s", code, why))
		}
		for sdk, codes := range told {
			if !codes[code] {
				missing = append(missing, sdk+" never told the error "+code)
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// ReadUnreachable reads the error codes that a healthy server does not answer:
// lines of "code -- why".
func ReadUnreachable(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	all := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		code, why, found := strings.Cut(line, " -- ")
		if !found {
			return nil, fmt.Errorf("%s: a line is `code -- why`", file)
		}
		all[code] = why
	}
	return all, lines.Err()
}
