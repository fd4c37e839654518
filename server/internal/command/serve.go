package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/marque-id/marque/server/internal/app"
	"github.com/marque-id/marque/server/internal/telemetry"
)

func serveCommand(p Process) *cobra.Command {
	s := settings{serving: true}
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: "Run the server until it is told to stop by SIGTERM or SIGINT: it then answers what\n" +
			"it is answering and ends. A second signal ends it at once. SIGHUP makes it look for\n" +
			"a new certificate at once.\n\n" +
			"With --dev it needs no configuration: SQLite, a local certificate authority, a\n" +
			"master key, an administrator and a client profile are made in one directory.",
		RunE: func(c *cobra.Command, _ []string) error { return serve(c, p, &s) },
	}
	s.register(c)
	s.registerDev(c, "run a development server that sets itself up, for this machine alone")
	c.Flags().StringVar(&s.listen, "listen", "", "address and port to listen on, always with TLS")
	return c
}

func serve(c *cobra.Command, p Process, s *settings) (err error) {
	loaded, err := s.load(c, p)
	if err != nil {
		return err
	}
	cfg := loaded.Config
	ctx := c.Context()
	out := telemetry.NewOutput(p.Stderr)
	defer func() { err = errors.Join(err, out.Close()) }()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectorPercent(cfg.CacheAccounts))
	}
	a, err := app.New(ctx, cfg, app.Deps{
		Clock: p.Clock, Log: telemetry.Logger(out, cfg.Log.Level, cfg.Log.Format), Output: out, Release: release(),
	})
	if err != nil {
		return err
	}
	a.Start()
	debug.FreeOSMemory() // what reading the contract and the keys has left behind
	if d := a.Development(); d != nil {
		welcome(p.Stdout, d)
	} else {
		fmt.Fprintf(p.Stdout, "marque: serving %s on %s\n", a.Issuer(), a.Address())
	}

	died := await(ctx, p, a)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownDelay+cfg.ShutdownTimeout)
	defer cancel()
	return errors.Join(died, a.Stop(limit))
}

// collectorPercent is how much the heap grows before it is collected. On a small
// machine a tenth of the memory is saved for a hundredth of the processor.
// Where many accounts are kept, they are what the collector looks at each time,
// and whoever keeps them has the memory.
func collectorPercent(cacheAccounts int) int {
	if cacheAccounts > 100_000 {
		return 120
	}
	return 60
}

// await returns when the server is told to stop, or with the error by which it
// has died.
func await(ctx context.Context, p Process, a *app.App) error {
	// A development server ends with the terminal that it was started from.
	var reload <-chan os.Signal
	if a.Development() == nil && p.Hangups != nil {
		reload = p.Hangups()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-a.Failed():
			return err
		case <-reload:
			a.ReloadCertificate()
		}
	}
}

// welcome tells what to try next, as commands that can be pasted. No secret is
// printed: curl reads it from its file.
func welcome(w io.Writer, d *app.Development) {
	fmt.Fprintf(w, `Marque is serving %[1]s (development: for this machine alone)

  everything it keeps   %[2]s   (delete it to start anew)
  certificate authority %[3]s
  client profile        %[4]s   (clients find it with XDG_CONFIG_HOME=%[2]s)

Try it in another terminal. Sign in as the administrator and ask who you are:

  TOKEN=$(curl -sS --cacert %[3]s \
    -d grant_type=client_credentials -d client_id=%[5]s \
    --data-urlencode client_secret@%[6]s \
    %[1]s/oauth2/token | grep -o '"access_token":"[^"]*"' | cut -d'"' -f4)

  curl -sS --cacert %[3]s -H "Authorization: Bearer $TOKEN" %[1]s/v1/whoami

Register an agent:

  curl -sS --cacert %[3]s -H "Authorization: Bearer $TOKEN" \
    -H 'Content-Type: application/json' \
    -d '{"name":"my-first-agent","kind":"agent","owner":"me@example.com"}' \
    %[1]s/v1/service-accounts

Read what has happened so far, and stop the server with Ctrl-C:

  curl -sS --cacert %[3]s -H "Authorization: Bearer $TOKEN" %[1]s/v1/audit-events

`, d.Issuer, quoted(d.DataDir), quoted(d.CAFile), quoted(d.ProfileFile), d.ClientID, quoted(d.SecretFile))
}

// quoted is a path as a shell reads it.
func quoted(path string) string {
	if strings.Trim(path, "/._-+:@,%0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
