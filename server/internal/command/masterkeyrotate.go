package command

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
)

func masterKeyRotateCommand(p Process) *cobra.Command {
	var s settings
	var o app.Rotation
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Put everything that is sealed under a new master key",
		Long: "Put every data key under the newest version of the master key; what they protect is\n" +
			"not touched, and no token or key changes. Servers go on running. The command may be\n" +
			"interrupted at any moment: run it again, and it goes on with what is left.\n\n" +
			"On SQLite it adds a new version to the master key file first. With PostgreSQL other\n" +
			"nodes must have that version before the first row needs it, so there are two steps:\n" +
			"  1. marque master-key rotate --prepare   adds the version; copy the file to every node\n" +
			"  2. marque master-key rotate             on one node\n" +
			"--one-node takes both at once where there is no other node. With the master key in\n" +
			"MARQUE_MASTER_KEY, step 1 is to add the line that `marque master-key generate --print\n" +
			"--version N` prints to the value, on every node.\n\n" +
			"The old version stays in the file: backups from before need it, and `marque master-key\n" +
			"drop` takes it out.",
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Prepare && o.OneNode {
				return misuse{errors.New("--prepare and --one-node exclude each other")}
			}
			loaded, err := s.load(c, p)
			if err != nil {
				return err
			}
			if o.Prepare && loaded.HasMasterKeyValue() {
				return misuse{errors.New("the master key is in MARQUE_MASTER_KEY: add the line that `marque master-key generate --print --version N` prints to its value on every node, then run `marque master-key rotate`")}
			}
			report, err := app.RotateMasterKey(c.Context(), &loaded.Config, quietDeps(p, &loaded.Config), o)
			if report.Added > 0 { // also when it went no further
				fmt.Fprintf(p.Stdout, "added version %d to %s\n", report.Added, report.File)
			}
			if err != nil {
				return err
			}
			printRotation(p.Stdout, &report, o)
			return nil
		},
	}
	s.register(c)
	s.registerDev(c, "rotate the master key of a development server")
	c.Flags().BoolVar(&o.Prepare, "prepare", false, "only add a new version to the master key file")
	c.Flags().BoolVar(&o.OneNode, "one-node", false, "add a new version and use it at once: no other node uses this database")
	return c
}

func printRotation(w io.Writer, r *app.RotationReport, o app.Rotation) {
	switch {
	case o.Prepare && r.Added == 0 && r.Prepared:
		fmt.Fprintf(w, "nothing to do: version %d is prepared already; copy %s to every node, then run: marque master-key rotate\n", r.To, r.File)
	case o.Prepare && r.Added == 0:
		fmt.Fprintf(w, "nothing to do: a rotation to version %d has begun; finish it with: marque master-key rotate\n", r.To)
	case o.Prepare:
		fmt.Fprintf(w, "nothing is sealed under it yet: copy the file to every node, then run on one of them: marque master-key rotate\n")
	case r.Rows == 0:
		fmt.Fprintf(w, "nothing to do: all %d rows are sealed under version %d, the newest one\n", r.Total, r.To)
		if r.File == "" {
			fmt.Fprintf(w, "for a rotation add the line that `marque master-key generate --print --version %d` prints to MARQUE_MASTER_KEY on every node, then run this again\n", r.To+1)
		} else {
			fmt.Fprintln(w, "for a rotation run `marque master-key rotate --prepare`, copy the file to every node, and run this again; where there is no other node, use --one-node")
		}
	default:
		fmt.Fprintf(w, "rotated %d row(s) from %s to v%d; all %d rows open with it alone\n", r.Rows, app.Versions(r.From), r.To, r.Total)
	}
	if !o.Prepare && len(r.Idle) > 0 {
		fmt.Fprintf(w, "no longer needed, but for older backups: %s\n", app.Versions(r.Idle))
	}
}
