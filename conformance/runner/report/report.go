// Package report writes down how a run went: a matrix in Markdown, JUnit's XML,
// and failures with what went over the wire.
package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/marque-id/marque/conformance/runner/judge"
)

// Verdict is what counts of a result.
type Verdict string

// The verdicts. Known is a failure that is declared, Skipped a case that an SDK
// cannot have, by declaration, or that cannot be run here.
const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped"
	Known   Verdict = "known"
)

// Line is one judged case.
type Line struct {
	*judge.Result
	Verdict Verdict
	Why     string // of Skipped and Known
}

// Run is a whole run.
type Run struct {
	Lines []Line
}

// Totals are the numbers of the last line.
func (r *Run) Totals() (passed, failed, skipped int) {
	for _, line := range r.Lines {
		switch line.Verdict {
		case Passed:
			passed++
		case Failed:
			failed++
		default:
			skipped++
		}
	}
	return passed, failed, skipped
}

// Failures tells each failure and its trace.
func (r *Run) Failures(out io.Writer) {
	for _, line := range r.Lines {
		if line.Verdict != Failed {
			continue
		}
		fmt.Fprintf(out, "\nFAILED %s  (%s)\n", line.Case.ID(), column(line))
		if line.Unsupported != "" {
			fmt.Fprintf(out, "  unsupported, and not declared: %s\n", line.Unsupported)
		}
		for _, failure := range line.Result.Failures {
			fmt.Fprintf(out, "  %s\n", indent(failure))
		}
		fmt.Fprint(out, indent(line.Trace))
	}
}

func indent(text string) string {
	return strings.ReplaceAll(text, "\n", "\n  ")
}

// column is the SDK, and the database where there is one.
func column(line Line) string {
	if line.Database == "" {
		return line.SDK
	}
	return line.SDK + ", " + line.Database
}

// Matrix writes suite × SDK. Live suites have a row for each database.
func (r *Run) Matrix(out io.Writer) {
	var rows, sdks []string
	cells := map[string]map[string]*[3]int{}
	for _, line := range r.Lines {
		row := line.Case.Suite
		if line.Database != "" {
			row += " (" + line.Database + ")"
		}
		if !slices.Contains(rows, row) {
			rows = append(rows, row)
			cells[row] = map[string]*[3]int{}
		}
		if !slices.Contains(sdks, line.SDK) {
			sdks = append(sdks, line.SDK)
		}
		if cells[row][line.SDK] == nil {
			cells[row][line.SDK] = &[3]int{}
		}
		cells[row][line.SDK][map[Verdict]int{Passed: 0, Failed: 1, Skipped: 2, Known: 2}[line.Verdict]]++
	}
	slices.Sort(rows)
	slices.Sort(sdks)
	fmt.Fprintf(out, "| suite | %s |\n|---|%s\n", strings.Join(sdks, " | "), strings.Repeat("---|", len(sdks)))
	for _, row := range rows {
		fmt.Fprintf(out, "| %s |", row)
		for _, sdk := range sdks {
			fmt.Fprintf(out, " %s |", cell(cells[row][sdk]))
		}
		fmt.Fprintln(out)
	}
}

func cell(n *[3]int) string {
	if n == nil {
		return "–"
	}
	text := fmt.Sprintf("%d ok", n[0])
	if n[1] > 0 {
		text += fmt.Sprintf(", **%d failed**", n[1])
	}
	if n[2] > 0 {
		text += fmt.Sprintf(", %d skipped", n[2])
	}
	return text
}

type testSuites struct {
	XMLName xml.Name    `xml:"testsuites"`
	Suites  []testSuite `xml:"testsuite"`
}

type testSuite struct {
	Name     string     `xml:"name,attr"`
	Tests    int        `xml:"tests,attr"`
	Failures int        `xml:"failures,attr"`
	Skipped  int        `xml:"skipped,attr"`
	Cases    []testCase `xml:"testcase"`
}

type testCase struct {
	Class   string   `xml:"classname,attr"`
	Name    string   `xml:"name,attr"`
	Time    string   `xml:"time,attr"`
	Failure *message `xml:"failure"`
	Skipped *message `xml:"skipped"`
}

type message struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// JUnit writes the form that build servers read: a suite for each SDK and database.
func (r *Run) JUnit(out io.Writer) error {
	var names []string
	suites := map[string]*testSuite{}
	suite := func(name string) *testSuite {
		if suites[name] == nil {
			names = append(names, name)
			suites[name] = &testSuite{Name: name}
		}
		return suites[name]
	}
	for _, line := range r.Lines {
		s := suite(column(line))
		c := testCase{Class: line.Case.Suite, Name: line.Case.Name, Time: fmt.Sprintf("%.3f", line.Took.Seconds())}
		switch line.Verdict {
		case Failed:
			s.Failures++
			c.Failure = &message{strings.Join(line.Result.Failures, "; ") + line.Unsupported, line.Trace}
		case Skipped, Known:
			s.Skipped++
			c.Skipped = &message{Message: line.Why}
		}
		s.Tests++
		s.Cases = append(s.Cases, c)
	}
	var all testSuites
	for _, name := range names {
		all.Suites = append(all.Suites, *suites[name])
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(out)
	encoder.Indent("", " ")
	return encoder.Encode(all)
}
