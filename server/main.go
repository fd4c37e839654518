// Command marque is the server and its tools. The commands are in
// internal/command.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/marque-id/marque/server/internal/clock"
	"github.com/marque-id/marque/server/internal/command"
)

func main() {
	ctx := untilSignal()
	os.Exit(command.Run(ctx, command.Process{
		Args: os.Args[1:], Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
		Clock: clock.System(), Hangups: hangups,
	}))
}

// untilSignal ends with the first signal, which asks to stop. Before anybody hears
// of it the default is back in force, so that a second one, however soon it comes,
// ends the process at once.
func untilSignal() context.Context {
	ctx, stop := context.WithCancel(context.Background())
	first := make(chan os.Signal, 1)
	signal.Notify(first, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-first
		signal.Stop(first)
		stop()
	}()
	return ctx
}

// hangups lets a command be told of SIGHUP, which ends all others.
func hangups() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}
