package command

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
	"github.com/marque-id/marque/server/internal/audit"
)

func auditCommand(p Process) *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "The record of every decision"}
	c.AddCommand(auditVerifyCommand(p))
	return c
}

func auditVerifyCommand(p Process) *cobra.Command {
	var s settings
	var kept string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove that the audit log is whole and unaltered",
		Long: "Read the whole audit log from the database and follow every hash chain and every\n" +
			"signed checkpoint. The server may run or not: nothing is locked and nothing written.\n" +
			"The exit code is 1 when something was altered, removed, reordered or put in.\n\n" +
			"With --checkpoints, checkpoints that were kept elsewhere are held against the log,\n" +
			"one signed text a line: only they can tell that its end was cut off together with\n" +
			"the last checkpoints.",
		RunE: func(c *cobra.Command, _ []string) error {
			loaded, err := s.load(c, p)
			if err != nil {
				return err
			}
			checkpoints, err := readLines(kept)
			if err != nil {
				return misuse{err}
			}
			report, err := app.VerifyAudit(c.Context(), &loaded.Config, quietDeps(p, &loaded.Config), checkpoints)
			if err != nil {
				return err
			}
			printReport(p.Stdout, &report)
			if !report.OK() {
				return errFound
			}
			return nil
		},
	}
	s.register(c)
	s.registerDev(c, "verify the audit log of a development server")
	c.Flags().StringVar(&kept, "checkpoints", "", "file with signed checkpoints that were kept elsewhere")
	return c
}

func printReport(w io.Writer, r *audit.Report) {
	fmt.Fprintf(w, "chains       %d\nevents       %d\ncheckpoints  %d\n", r.Chains, r.Events, r.Checkpoints)
	if r.OK() {
		fmt.Fprintf(w, "not yet under a checkpoint: %d\n", r.Unsealed)
		fmt.Fprintln(w, "OK: every event is in its place and as it was recorded")
		return
	}
	fmt.Fprintf(w, "BROKEN: %d problem(s), the first one:\n  %s\n  (%s)\n", r.Broken, r.First, r.First.Finding)
}

// readLines reads the lines of a file that are not empty; no path gives none.
func readLines(path string) ([]string, error) {
	if path == "" {
		return nil, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lines []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, nil
}
