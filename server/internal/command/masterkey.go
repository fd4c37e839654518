package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
)

func masterKeyCommand(p Process) *cobra.Command {
	c := &cobra.Command{Use: "master-key", Short: "The key that opens every secret in the database"}
	c.AddCommand(masterKeyGenerateCommand(p), masterKeyCheckCommand(p), masterKeyRotateCommand(p), masterKeyDropCommand(p))
	return c
}

func masterKeyGenerateCommand(p Process) *cobra.Command {
	var s settings
	var print bool
	version := 1
	c := &cobra.Command{
		Use:   "generate",
		Short: "Make a new master key",
		Long: "Make a new master key and write it into the file that master_key_file names, which\n" +
			"must not exist yet and which its owner alone may read. With --print it goes to\n" +
			"standard output instead, for a platform that keeps secrets (MARQUE_MASTER_KEY);\n" +
			"with --version it is a further line, to be added to that value for a rotation.\n\n" +
			"Keep a copy apart from the database's backups: without it they cannot be used, and\n" +
			"with it they can be read.",
		RunE: func(c *cobra.Command, _ []string) error {
			if version < 1 {
				return misuse{fmt.Errorf("--version %d: versions begin with 1", version)}
			}
			if print {
				_, err := fmt.Fprint(p.Stdout, app.NewMasterKey(version))
				return err
			}
			if version != 1 {
				return misuse{fmt.Errorf("--version is for --print: `marque master-key rotate` adds a version to the file")}
			}
			loaded, err := s.load(c, p)
			if err != nil {
				return err
			}
			if err := app.WriteMasterKey(&loaded.Config); err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.Stdout, "wrote %s\n", loaded.MasterKeyFile)
			return err
		},
	}
	s.register(c)
	c.Flags().BoolVar(&print, "print", false, "print the key instead of writing the file")
	c.Flags().IntVar(&version, "version", 1, "the version that is printed")
	return c
}
