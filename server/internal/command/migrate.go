package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
)

func migrateCommand(p Process) *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database up to date",
		Long: "Bring the database up to date with this release. It may be run any number of times\n" +
			"and by several nodes at once. `marque serve` refuses to start before it was run.",
		RunE: func(c *cobra.Command, _ []string) error {
			loaded, err := s.load(c, p)
			if err != nil {
				return err
			}
			applied, err := app.Migrate(c.Context(), &loaded.Config, quietDeps(p, &loaded.Config))
			if err != nil {
				return err
			}
			for _, name := range applied {
				fmt.Fprintf(p.Stdout, "applied %s\n", name)
			}
			_, err = fmt.Fprintln(p.Stdout, "the database is up to date")
			return err
		},
	}
	s.register(c)
	return c
}
