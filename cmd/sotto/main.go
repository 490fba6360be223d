// Command sotto is the whole system in one binary.
//
//	sotto dev     signaling, media node, page and metrics in one process, for this machine
//	sotto signal  signaling and page, with the engine that media nodes connect to
//	sotto sfu     a media node
//	sotto join    a participant without a browser
//	sotto token   makes join tokens
//	sotto nodes   lists the media nodes of a cluster
//	sotto rooms   lists its rooms
//	sotto drain   empties a media node
//	sotto doctor  says what is wrong on this machine, and what to do about it
//	sotto config  checks, prints and documents the configuration
//	sotto bench   rooms of native participants against a node; prints packets, loss, latency and CPU per packet
//	sotto version the build
//
// The packages behind it hold the logic; this one reads flags, wires and waits for signals.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"sotto/cmd/sotto/internal/bench"
	"sotto/cmd/sotto/internal/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `sotto: encrypted group video

  sotto dev [flags]        everything in one process, for trying it out
  sotto signal [flags]     signaling and page
  sotto sfu [flags]        a media node
  sotto join LINK          take part in a room without a browser
  sotto token create       make a join token
  sotto config check|print|docs
                           look at the configuration
  sotto doctor signal|sfu  look for what is wrong on this machine, and say what to do
  sotto nodes              list the media nodes
  sotto rooms              list the rooms
  sotto drain NODE         empty a media node: its calls move to others
  sotto bench [flags]      measure a media node with native participants
  sotto version            print the build

'sotto COMMAND -h' shows the flags of a command.
`

// run carries out one command and returns the exit status: 0 done, 1 failed, 2 called or configured
// wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var err error
	switch name, rest := args[0], args[1:]; name {
	case "dev":
		err = dev(ctx, rest, stdout, stderr)
	case "signal":
		err = runSignal(ctx, rest, stdout, stderr)
	case "sfu":
		err = runSFU(ctx, rest, stdout, stderr)
	case "join":
		err = joinCommand(ctx, rest, os.Stdin, stdout, stderr)
	case "token":
		err = tokenCommand(ctx, rest, stdout, stderr)
	case "config":
		err = configCommand(ctx, rest, stdout, stderr)
	case "doctor":
		err = doctorCommand(ctx, rest, stdout, stderr)
	case "nodes":
		err = nodesCommand(ctx, rest, stdout, stderr)
	case "rooms":
		err = roomsCommand(ctx, rest, stdout, stderr)
	case "drain":
		err = drainCommand(ctx, rest, stdout, stderr)
	case "bench":
		err = bench.Run(ctx, rest, stdout)
	case "version":
		fmt.Fprintln(stdout, version())
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
	default:
		fmt.Fprintf(stderr, "sotto: there is no command %q\n\n%s", name, usage)
		return 2
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage), errors.Is(err, config.ErrUsage):
		return 2 // it has been said what is wrong
	case errors.Is(err, config.ErrInvalid):
		fmt.Fprintf(stderr, "sotto: %v\n", err)
		return 2
	}
	fmt.Fprintf(stderr, "sotto: %v\n", err)
	return 1
}

// errUsage marks an error that was printed already.
var errUsage = errors.New("called wrongly")

// version names the build by its commit where the toolchain recorded one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := info.Main.Version, ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	if revision == "" {
		revision = "unknown"
	}
	return revision + dirty
}
