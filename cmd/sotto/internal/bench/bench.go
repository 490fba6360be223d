// Package bench measures a media node with rooms of native participants: packets per second, loss, latency, and the CPU time
// that the server process spent on each packet it forwarded.
//
// The server runs in a child process of the same binary, so that its CPU time is its own; or it is one that runs already, by
// its address and process id. Frames are end-to-end encrypted as in every call.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sotto/signal/client"
)

// errUsage is a combination of flags that makes no sense.
var errUsage = errors.New("bench: wrong flags")

// Scenario is what to measure.
type Scenario struct {
	Rooms       int           `json:"rooms"`
	Publishers  int           `json:"publishers"`  // of each room
	Subscribers int           `json:"subscribers"` // of each room
	Meeting     bool          `json:"meeting"`     // publishers subscribe to each other
	Video       string        `json:"video"`       // synthetic, clip or none
	KbitPerSec  int           `json:"kbit_per_second,omitempty"`
	Audio       bool          `json:"audio"`
	Height      int           `json:"height"` // that receivers ask for
	Duration    time.Duration `json:"duration_ns"`
	Joins       int           `json:"joins_at_once"`
}

type options struct {
	scenario  Scenario
	url       string
	pid       int
	json      bool
	serve     bool
	inProcess bool
	compare   bool
	disturb   bool
	suite     bool
	only      string
	dir       string
	rounds    int
	setup     setup
}

func parse(args []string) (options, error) {
	var o options
	var meeting int
	fs := flag.NewFlagSet("sotto bench", flag.ContinueOnError)
	fs.SetOutput(os.Stderr)
	fs.IntVar(&o.scenario.Rooms, "rooms", 1, "number of rooms")
	fs.IntVar(&o.scenario.Publishers, "publishers", 1, "publishers in each room")
	fs.IntVar(&o.scenario.Subscribers, "subscribers", 10, "subscribers in each room")
	fs.IntVar(&meeting, "meeting", 0, "`N` participants in each room who all publish and see each other; replaces publishers and subscribers")
	fs.StringVar(&o.scenario.Video, "video", "synthetic", "`source`: synthetic (one layer of -rate, measures latency), clip (VP8 in three layers) or none")
	fs.IntVar(&o.scenario.KbitPerSec, "rate", 1500, "kbit/s of a synthetic publisher")
	fs.BoolVar(&o.scenario.Audio, "audio", false, "publishers send audio too")
	fs.IntVar(&o.scenario.Height, "height", 720, "lines that receivers ask for")
	fs.DurationVar(&o.scenario.Duration, "duration", 10*time.Second, "length of the measurement, after everybody has pictures")
	fs.IntVar(&o.scenario.Joins, "joins", 4, "participants that join at the same time")
	fs.StringVar(&o.url, "url", "", "signaling `URL` of a running server (ws://host:port/ws); empty starts one")
	fs.IntVar(&o.pid, "pid", 0, "process id of the running server, for its CPU time (Linux)")
	fs.IntVar(&o.setup.shards, "shards", 1, "shards of the server that is started")
	fs.StringVar(&o.setup.offload, "socket-offload", "auto", "what its sockets ask of the kernel: auto, sendmmsg or off")
	fs.BoolVar(&o.compare, "compare", false, "measure the scenario with each socket path, with a naive pion forwarder and against the floor, and print ratios")
	fs.BoolVar(&o.disturb, "disturb", false, "measure what others notice of junk at the media port and of viewers that do not read")
	fs.BoolVar(&o.suite, "suite", false, "measure all scenarios with the naive forwarder and the floor and print a table")
	fs.StringVar(&o.only, "only", "", "of -suite: the scenarios whose name holds this `word`")
	fs.StringVar(&o.dir, "out", "", "of -suite: write suite.txt and suite.svg into this `directory` too")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds of -compare, -disturb and -suite, whose medians they print")
	fs.BoolVar(&o.setup.naive, "naive", false, "start the naive pion forwarder in place of the server")
	fs.BoolVar(&o.setup.floor, "floor", false, "with -serve: send to the addresses of the first line of input instead of serving")
	fs.BoolVar(&o.setup.watch, "watch", false, "with -serve: count how late the core lets a thread go on instead of serving")
	fs.StringVar(&o.setup.link, "link", "", "with -serve: advertise this `address` for ICE over TCP")
	fs.StringVar(&o.setup.profile, "cpuprofile", "", "write a CPU profile of the server process to `file`")
	fs.StringVar(&o.setup.memory, "memprofile", "", "write a heap profile of the server process at the end of the measurement to `file`")
	fs.IntVar(&o.setup.cpu, "cpu", -1, "pin the server process to this `core` and keep everybody else off it; -1 is all (Linux)")
	fs.BoolVar(&o.json, "json", false, "print JSON")
	fs.BoolVar(&o.serve, "serve", false, "be the server of another bench process: reads commands from standard input")
	fs.BoolVar(&o.inProcess, "in-process", false, "run the server in this process; CPU time is then that of everything")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%w: argument %q", errUsage, fs.Arg(0))
	}
	s := &o.scenario
	if meeting > 0 {
		s.Publishers, s.Subscribers, s.Meeting = meeting, 0, true
	}
	switch {
	case s.Video != "synthetic" && s.Video != "clip" && s.Video != "none":
		return o, fmt.Errorf("%w: -video %q", errUsage, s.Video)
	case s.Video == "none" && !s.Audio:
		return o, fmt.Errorf("%w: neither video nor audio", errUsage)
	case s.Rooms < 1 || s.Publishers < 1 || s.Subscribers < 0 || s.Publishers+s.Subscribers > 255:
		return o, fmt.Errorf("%w: 1 to 255 participants in a room, at least one publisher", errUsage)
	case s.Publishers > 50:
		return o, fmt.Errorf("%w: at most 50 publishers in a room", errUsage)
	case s.Duration <= 0 || o.rounds < 1 || s.Joins < 1 || o.setup.shards < 1 || s.KbitPerSec < 10:
		return o, fmt.Errorf("%w: durations, rates and counts are positive", errUsage)
	}
	if s.Video != "synthetic" {
		s.KbitPerSec = 0
	}
	return o, nil
}

// Run carries out `sotto bench`.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.serve {
		in, err := polled(unix.Stdin)
		if err != nil {
			return err
		}
		return serve(ctx, o.setup, in, stdout)
	}
	if o.suite {
		return runSuite(ctx, o, stdout, os.Stderr)
	}
	if o.disturb {
		return disturb(ctx, o, stdout)
	}
	if o.compare {
		return compare(ctx, o, stdout)
	}
	target, err := o.target()
	if err != nil {
		return err
	}
	defer target.close()
	result, err := measure(ctx, o.scenario, o.setup.cpu, target)
	if err != nil {
		return err
	}
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return e.Encode(result)
	}
	return result.print(stdout)
}

// target is the server to be measured.
func (o *options) target() (server, error) {
	switch {
	case o.url != "":
		return &running{address: o.url, pid: o.pid}, nil
	case o.inProcess:
		return startHere(o.setup)
	}
	return startChild(o.setup)
}

func (s *Scenario) synthetic() *client.Synthetic {
	if s.Video != "synthetic" {
		return nil
	}
	return &client.Synthetic{BytesPerSecond: s.KbitPerSec * 1000 / 8, FramesPerSecond: 30}
}
