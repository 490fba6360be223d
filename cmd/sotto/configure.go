package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"sotto/cmd/sotto/internal/config"
)

// load reads and checks the configuration of a service.
func load(command string, args []string, stderr io.Writer) (*config.Config, error) {
	c, rest, err := config.Load(command, args, os.LookupEnv, stderr)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, usageError(stderr, "sotto %s takes no argument %q", command, rest[0])
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("%w:\n%w", config.ErrInvalid, err)
	}
	return c, nil
}

const configUsage = `sotto config check COMMAND [flags]   say whether COMMAND would start with this configuration
sotto config print COMMAND [flags]   print what is in force and where it comes from, without secrets
sotto config docs                    print the table of all options, Markdown

COMMAND is dev, signal or sfu; flags are those of COMMAND.
`

// configCommand shows and checks configurations.
func configCommand(_ context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 1 && args[0] == "docs" {
		return config.Docs(stdout)
	}
	if len(args) < 2 || args[0] != "check" && args[0] != "print" || !slices.Contains(config.Commands(), args[1]) {
		fmt.Fprint(stderr, configUsage)
		return errUsage
	}
	action, command := args[0], args[1]
	if action == "print" {
		c, rest, err := config.Load(command, args[2:], os.LookupEnv, stderr)
		if err != nil {
			return err
		}
		if len(rest) > 0 {
			return usageError(stderr, "sotto config print: no argument %q", rest[0])
		}
		return c.Print(stdout)
	}
	c, err := load(command, args[2:], stderr)
	if err != nil {
		return err
	}
	if _, err := loadCertificate(c.TLSCert, c.TLSKey, time.Now()); err != nil {
		return fmt.Errorf("%w: %w", config.ErrInvalid, err)
	}
	_, err = fmt.Fprintf(stdout, "sotto %s: the configuration is good\n", strings.TrimSpace(command))
	return err
}
