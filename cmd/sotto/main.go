// Command sotto is the whole system in one binary.
//
//	sotto dev     signaling, media node, page and metrics in one process, for this machine
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `sotto: encrypted group video

  sotto dev [flags]      everything in one process, for trying it out
  sotto bench [flags]    measure a media node with native participants
  sotto version          print the build

'sotto COMMAND -h' shows the flags of a command.
`

// run carries out one command and returns the exit status: 0 done, 1 failed, 2 called wrongly.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var err error
	switch name, rest := args[0], args[1:]; name {
	case "dev":
		err = dev(ctx, rest, stdout, stderr)
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
	case errors.Is(err, errUsage):
		return 2 // the flag package has said what is wrong
	}
	fmt.Fprintf(stderr, "sotto: %v\n", err)
	return 1
}

// errUsage marks an error that was printed already, with the flags that exist.
var errUsage = errors.New("wrong flags")

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
