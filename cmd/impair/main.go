//go:build linux

// Impair runs a command in a network of its own whose links have a rate, a queue, delay and loss, for tests with real programs.
// It needs root, TUN devices and network namespaces; the kernel needs no queueing discipline for it.
//
//	impair [-hosts 2] [-seed 1] [-links '{"delay_ms":20}'] COMMAND…
//
// The network is a star. The command runs in the middle, the server's namespace (10.98.0.1); each host has a namespace with an
// address and an up and a down link of its own to the middle. Hosts reach each other over both their links. Nothing of it
// is seen from outside, so that several such networks may stand beside each other.
//
//	namespace of host 1  ── up ──▶            ── down ──▶  namespace of host 2
//	10.98.0.11           ◀─ down ─  10.98.0.1  ◀── up ──   10.98.0.12
//
// The command holds the other end of the network in file descriptor 3, a Unix stream socket with JSON, one value a line. First
// it reads the [network], and then a [sample] of all links every 100 ms; it may write [change]s at any time. A program is put
// onto a host with `ip netns exec NAMESPACE PROGRAM…`. When the command ends, the network goes away, and impair ends with
// the command's exit code.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// endTimeout is how long the command may take to end after it was asked to.
const endTimeout = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "impair: %v\n", err)
	}
	os.Exit(code)
}

// run returns the exit code: the command's, or 125 if there was no network to run it in.
func run(ctx context.Context, args []string) (code int, err error) {
	const noNetwork = 125
	flags := flag.NewFlagSet("impair", flag.ContinueOnError)
	hosts := flags.Int("hosts", 2, "number of hosts, 1 to 200")
	seed := flags.Uint64("seed", 1, "of everything that the links draw")
	links := flags.String("links", `{"delay_ms":20}`, "what every link is like at the start")
	if err := flags.Parse(args); err != nil {
		return noNetwork, err
	}
	if flags.NArg() == 0 || *hosts < 1 || *hosts > 200 {
		return noNetwork, errors.New("usage: impair [flags] COMMAND…")
	}
	each, err := settings{}.merged([]byte(*links))
	if err != nil {
		return noNetwork, fmt.Errorf("-links: %w", err)
	}
	n, err := build(*hosts, each, *seed)
	if err != nil {
		return noNetwork, err
	}
	defer n.close()
	ours, theirs, err := socketPair()
	if err != nil {
		return noNetwork, err
	}
	defer func() { _ = ours.Close() }()
	go n.control(ours)

	command := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.middle.namespace}, flags.Args()...)...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	command.ExtraFiles = []*os.File{theirs}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = endTimeout
	err = command.Start()
	_ = theirs.Close()
	if err == nil {
		err = command.Wait()
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	} else if err != nil {
		return 1, err
	}
	return 0, nil
}
