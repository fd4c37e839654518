package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
	"github.com/marque-id/marque/server/internal/directory"
)

func bootstrapAdminCommand(p Process) *cobra.Command {
	var s settings
	var recovering bool
	var out string
	c := &cobra.Command{
		Use:   "bootstrap-admin",
		Short: "Make the first administrator",
		Long: "Make an administrator with one client secret, directly in the database, and print\n" +
			"both. The secret is shown this once and never again. It is recorded in the audit log.\n" +
			"Refused while an enabled administrator exists, unless --recover is given.",
		RunE: func(c *cobra.Command, _ []string) error {
			loaded, err := s.load(c, p)
			if err != nil {
				return err
			}
			account, secret, err := app.BootstrapAdmin(c.Context(), &loaded.Config, quietDeps(p, &loaded.Config), recovering)
			if errors.Is(err, directory.ErrAdministratorExists) {
				return errors.New("an enabled administrator exists: sign in as that one; if its secret is lost, run this again with --recover")
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(p.Stdout, "client_id: %s\n", account.ID)
			if out == "" {
				_, err = fmt.Fprintf(p.Stdout, "client_secret: %s\n", secret.Reveal())
				return err
			}
			if err := app.WriteNewFile(out, []byte(secret.Reveal())); err != nil {
				return fmt.Errorf("%w; the secret is lost, run this again with --recover", err)
			}
			_, err = fmt.Fprintf(p.Stdout, "client_secret_file: %s\n", out)
			return err
		},
	}
	s.register(c)
	c.Flags().BoolVar(&recovering, "recover", false, "make one although an enabled administrator exists")
	c.Flags().StringVar(&out, "out", "", "write the secret into this new file instead of printing it")
	return c
}
