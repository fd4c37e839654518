// Package command is the command line of marque: one file per command. A
// command reads its configuration, calls the app and prints; it decides
// nothing.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/config"
	"github.com/marque-id/marque/server/internal/telemetry"
)

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // what was asked for could not be done, or a check found something
	exitMisused = 2 // the command line or the configuration is wrong: nothing was tried
)

// Process is what a command gets from the process it runs in.
type Process struct {
	Args    []string // without the program's name
	Environ []string
	Stdout  io.Writer
	Stderr  io.Writer
	Clock   clock.Clock
	Hangups func() <-chan os.Signal // catches SIGHUP from then on
}

// misuse marks an error of the command line or the configuration.
type misuse struct{ cause error }

func (m misuse) Error() string { return m.cause.Error() }
func (m misuse) Unwrap() error { return m.cause }

// errFound ends a command that has printed its findings already.
var errFound = errors.New("findings were reported")

// Run runs one command and returns the exit code.
func Run(ctx context.Context, p Process) int {
	root := newRoot(p)
	root.SetArgs(p.Args)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	var wrong misuse
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitFailed
	case errors.As(err, &wrong):
		fmt.Fprintf(p.Stderr, "marque: %v\n", err)
		return exitMisused
	default:
		fmt.Fprintf(p.Stderr, "marque: %v\n", err)
		return exitFailed
	}
}

func newRoot(p Process) *cobra.Command {
	root := &cobra.Command{
		Use:   "marque",
		Short: "An identity provider for software that acts on its own",
		Long: "Marque gives each agent, service, job and device an identity, checks its\n" +
			"credential, issues short-lived signed tokens, and stops it at once when told to.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return misuse{fmt.Errorf("%w; see `%s --help`", err, c.CommandPath())}
	})
	root.AddCommand(
		serveCommand(p), migrateCommand(p), configCommand(p), masterKeyCommand(p),
		bootstrapAdminCommand(p), auditCommand(p), versionCommand(p),
	)
	strict(root)
	return root
}

// strict makes surplus arguments and unknown subcommands a misuse, with the
// exit code of one.
func strict(c *cobra.Command) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return misuse{fmt.Errorf("%q is not understood; see `%s --help`", args[0], c.CommandPath())}
		}
		return nil
	}
	if c.HasSubCommands() && c.RunE == nil {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// settings are the flags that say where the configuration comes from.
type settings struct {
	file    string
	dataDir string
	listen  string
	dev     bool
	serving bool // the command needs all that a server needs
}

func (s *settings) register(c *cobra.Command) {
	c.Flags().StringVar(&s.file, "config", "", "configuration file (YAML); also by "+config.ConfigFileVariable)
	c.Flags().StringVar(&s.dataDir, "data-dir", "", "directory for the server's own files")
}

// registerDev adds the flag for commands that can work on a development server's data.
func (s *settings) registerDev(c *cobra.Command, usage string) {
	c.Flags().BoolVar(&s.dev, "dev", false, usage)
}

func (s *settings) load(c *cobra.Command, p Process) (*config.Loaded, error) {
	in := config.Input{File: s.file, Environ: p.Environ, Dev: s.dev, Serving: s.serving, Flags: map[string]string{}}
	if in.File == "" {
		in.File = config.FileFromEnviron(p.Environ)
	}
	for flag, key := range map[string]string{"data-dir": "data_dir", "listen": "listen"} {
		if f := c.Flags().Lookup(flag); f != nil && f.Changed {
			in.Flags[key] = f.Value.String()
		}
	}
	loaded, err := config.Load(in)
	if err != nil {
		return nil, misuse{err}
	}
	return loaded, nil
}

// quietDeps are for commands that speak for themselves: only warnings are logged.
func quietDeps(p Process, cfg *config.Config) app.Deps {
	return app.Deps{Clock: p.Clock, Log: telemetry.Logger(p.Stderr, max(cfg.Log.Level, slog.LevelWarn), cfg.Log.Format)}
}
