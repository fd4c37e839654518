package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
	"github.com/marque-id/marque/server/internal/config"
)

func configCommand(p Process) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Look at the configuration"}
	c.AddCommand(configCheckCommand(p), configDocsCommand(p))
	return c
}

func configDocsCommand(p Process) *cobra.Command {
	return &cobra.Command{
		Use:   "docs",
		Short: "Print the reference of all keys, as Markdown",
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(p.Stdout, config.Docs())
			return err
		},
	}
}

func configCheckCommand(p Process) *cobra.Command {
	s := settings{serving: true}
	c := &cobra.Command{
		Use:   "check",
		Short: "Print what is in force and where it comes from, secrets redacted",
		Long: "Print every key with the value in force and its source: a flag, the environment, a\n" +
			"line of the file, or the default. Then look at the files that are named, without\n" +
			"touching the database. The exit code is 2 when `marque serve` would refuse.",
		RunE: func(c *cobra.Command, _ []string) error {
			loaded, err := s.load(c, p)
			if err != nil {
				return err
			}
			fmt.Fprint(p.Stdout, loaded.String())
			if err := app.Check(&loaded.Config, p.Clock); err != nil {
				return misuse{err}
			}
			return nil
		},
	}
	s.register(c)
	s.registerDev(c, "check what `marque serve --dev` would use")
	return c
}
