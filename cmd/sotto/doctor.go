package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sotto/cmd/sotto/internal/config"
)

const doctorUsage = `sotto doctor signal|sfu [flags]

Looks whether the service would work on this machine with this configuration: one line for each check, and what to do. The flags are
those of the service, and --json. Ends with 1 if something fails.
`

// finding is the result of a check.
type finding struct {
	Check  string  `json:"check"`
	State  verdict `json:"state"`
	Text   string  `json:"text"`
	Advice string  `json:"advice,omitempty"`
}

type verdict string

const (
	fine    verdict = "ok"
	warning verdict = "warning" // it works, but not for everybody or not for long
	failure verdict = "failure" // it does not work
)

// doctor collects findings.
type doctor struct {
	config *config.Config
	list   []finding
}

func (d *doctor) find(check string, state verdict, advice, format string, args ...any) {
	d.list = append(d.list, finding{check, state, fmt.Sprintf(format, args...), advice})
}

func (d *doctor) fine(check, format string, args ...any) { d.find(check, fine, "", format, args...) }

func doctorCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] != config.Signal && args[0] != config.SFU {
		fmt.Fprint(stderr, doctorUsage)
		return errUsage
	}
	command := args[0]
	fs := flag.NewFlagSet("sotto doctor "+command, flag.ContinueOnError)
	fs.SetOutput(stderr)
	asJSON := fs.Bool("json", false, "print JSON")
	c, rest, err := config.LoadFlags(command, fs, args[1:], os.LookupEnv)
	switch {
	case errors.Is(err, config.ErrInvalid): // a finding like others
	case err != nil:
		return err
	case len(rest) > 0:
		return usageError(stderr, "sotto doctor %s takes no argument %q", command, rest[0])
	default:
		err = c.Check()
	}
	d := &doctor{config: c}
	if err != nil {
		d.find("configuration", failure, "CONFIGURATION.md lists all options", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	} else {
		d.fine("configuration", "is good")
		d.machine(command)
		if command == config.SFU {
			d.media()
			d.engine(ctx)
		} else {
			d.page(time.Now())
			d.files()
			d.signalEngine(ctx)
		}
		d.metrics()
	}
	if *asJSON {
		err = printJSON(stdout, d.list)
	} else {
		err = d.print(stdout)
	}
	for _, f := range d.list {
		if f.State == failure && err == nil {
			err = errFound
		}
	}
	return err
}

// errFound marks findings that were printed and make the service fail.
var errFound = errors.New("not everything will work")

func (d *doctor) print(w io.Writer) error {
	for _, f := range d.list {
		line := fmt.Sprintf("%-8s %-16s %s", f.State, f.Check, f.Text)
		if f.Advice != "" {
			line += ": " + f.Advice
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
