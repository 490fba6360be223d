package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"

	"sotto/cmd/sotto/internal/config"
)

// reload reads the configuration of a running service again: the same flags, environment and files as at its start.
type reload struct {
	command string
	args    []string
	running *config.Config // what is in force
	log     *zap.Logger
	apply   func(*config.Config) error // brings what may change into force, or nothing
}

// run takes the new configuration, or keeps the old one and says why.
func (r *reload) run() {
	c, err := load(r.command, r.args, io.Discard)
	if err == nil {
		err = r.apply(c)
	}
	if err != nil {
		r.log.Error("configuration refused, the former one stays", zap.Error(err))
		return
	}
	if fixed := r.running.Adopt(c); len(fixed) > 0 {
		r.log.Warn("these take a restart", zap.Strings("keys", fixed))
	}
	r.log.Info("configuration read again")
}

// until serves hang-ups until ctx ends or something fails.
func (r *reload) until(ctx context.Context, hangUp <-chan os.Signal, failed <-chan error) error {
	for {
		select {
		case <-hangUp:
			r.run()
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *reload) drainTime() time.Duration {
	return time.Duration(r.running.DrainSeconds) * time.Second
}

// onHangUp gives the requests to read the configuration again.
func onHangUp() (<-chan os.Signal, func()) { return notify(syscall.SIGHUP) }

// onStop gives the requests to stop that come after the first.
func onStop() (<-chan os.Signal, func()) { return notify(os.Interrupt, syscall.SIGTERM) }

func notify(list ...os.Signal) (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, list...)
	return c, func() { signal.Stop(c) }
}
