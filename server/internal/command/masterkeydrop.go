package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
)

func masterKeyDropCommand(p Process) *cobra.Command {
	var s settings
	var version int
	c := &cobra.Command{
		Use:   "drop",
		Short: "Take an old version out of the master key file",
		Long: "Take a version out of the master key file that no row of the database is sealed under\n" +
			"any more; refused for any other. Backups of the database from before the rotation\n" +
			"still need it: keep a copy as long as you keep them.",
		RunE: func(c *cobra.Command, _ []string) error {
			if version < 1 {
				return misuse{errors.New("--version says which one")}
			}
			loaded, err := s.load(c, p)
			if err != nil {
				return err
			}
			if err := app.DropMasterKey(c.Context(), &loaded.Config, quietDeps(p, &loaded.Config), version); err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.Stdout, "took version %d out of %s\n", version, loaded.MasterKeyFile)
			return err
		},
	}
	s.register(c)
	s.registerDev(c, "work on the master key of a development server")
	c.Flags().IntVar(&version, "version", 0, "the version to take out")
	return c
}
