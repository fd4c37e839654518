// The demo program tells the story of one agent to somebody who sees Marque
// for the first time. It starts a development server of its own, makes real
// calls to it as an operator, an agent and an API would, shows what goes over
// the wire, checks each answer, lets the SDKs tell the same, and ends by itself.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	binary := flag.String("marque", "bin/marque", "the marque binary")
	every := flag.Bool("every-sdk", false, "fail where an SDK has not been set up")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *binary, *every); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, binary string, everySDK bool) error {
	dir, err := os.MkdirTemp("", "marque-demo-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()

	server, err := startServer(ctx, binary, dir)
	if err != nil {
		return err
	}
	defer server.kill()
	client, err := newClient(server.profile)
	if err != nil {
		return err
	}
	s := &story{ctx: ctx, out: os.Stdout, client: client, server: server, everySDK: everySDK}
	s.tell()
	if s.err != nil {
		server.kill()
		return fmt.Errorf("%w\nThe server's log:\n%s", s.err, server.log.String())
	}
	return nil
}
