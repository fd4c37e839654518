package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
)

func masterKeyCheckCommand(p Process) *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "check",
		Short: "Prove that the master key opens everything that is sealed",
		Long: "Open every sealed row of the database, and tell which versions of the master key are\n" +
			"known, which are in use, and which are no longer needed. The server may run or not:\n" +
			"nothing is locked and nothing written. The exit code is 1 when a row does not open.",
		RunE: func(c *cobra.Command, _ []string) error {
			loaded, err := s.load(c, p)
			if err != nil {
				return err
			}
			survey, err := app.SurveyMasterKey(c.Context(), &loaded.Config, quietDeps(p, &loaded.Config))
			if err != nil {
				return err
			}
			w := p.Stdout
			fmt.Fprintf(w, "known versions   %s\n", app.Versions(survey.Known))
			for _, version := range survey.Wanted() {
				fmt.Fprintf(w, "sealed under v%d  %d row(s)\n", version, survey.Used[version])
			}
			if idle := survey.Idle(); len(idle) > 0 {
				fmt.Fprintf(w, "not needed       %s (but for backups from before the rotation)\n", app.Versions(idle))
			}
			if newest := survey.Known[len(survey.Known)-1]; survey.Below(newest) > 0 {
				fmt.Fprintf(w, "to be rotated    %d row(s) to v%d: run marque master-key rotate, once every node has that version\n", survey.Below(newest), newest)
			}
			if len(survey.Unopenable) == 0 {
				fmt.Fprintf(w, "OK: all %d sealed row(s) open\n", survey.Rows())
				return nil
			}
			fmt.Fprintf(w, "BROKEN: %d of %d sealed row(s) do not open\n", len(survey.Unopenable), survey.Rows())
			for _, row := range survey.Unopenable {
				fmt.Fprintf(w, "  v%d wanted, %s: %v\n", row.Version, row.Row, row.Reason)
			}
			return errFound
		},
	}
	s.register(c)
	s.registerDev(c, "check the master key of a development server")
	return c
}
