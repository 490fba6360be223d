package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"sotto/cmd/sotto/internal/config"
	"sotto/signal"
	"sotto/signal/cluster"
	"sotto/signal/protocol"
)

// engineTimeout is how long an operator's command waits for the engine.
const engineTimeout = 3 * time.Second

// lookTime is how long it waits for the nodes to say what they have: they beat at once when somebody asks, and four times a second
// anyway.
const lookTime = time.Second

// operator is a command line that looks at a cluster.
type operator struct {
	config *config.Config
	json   bool
	args   []string
}

func readOperator(command string, args []string, stderr io.Writer) (*operator, error) {
	o := &operator{}
	fs := flag.NewFlagSet("sotto "+command, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.BoolVar(&o.json, "json", false, "print JSON")
	var err error
	if o.config, o.args, err = config.LoadFlags(config.Operator, fs, args, os.LookupEnv); err != nil {
		return nil, err
	}
	if err := o.config.Check(); err != nil {
		return nil, fmt.Errorf("%w:\n%w", config.ErrInvalid, err)
	}
	return o, nil
}

// with gives f a look at the cluster.
func (o *operator) with(ctx context.Context, f func(*cluster.Remote) error) error {
	nc, err := reachEngine(ctx, o.config, "sotto operator")
	if err != nil {
		return err
	}
	defer nc.Close()
	remote, err := cluster.NewRemote(nc, cluster.RemoteConfig{Timing: cluster.Timing{Settle: lookTime}})
	if err != nil {
		return err
	}
	defer remote.Close()
	select {
	case <-time.After(lookTime):
	case <-ctx.Done():
		return ctx.Err()
	}
	return f(remote)
}

// reachEngine connects to the engine, or says that it cannot be reached.
func reachEngine(ctx context.Context, c *config.Config, name string) (*nats.Conn, error) {
	nc, err := connectEngine(c, name, zap.NewNop())
	if err != nil {
		return nil, err
	}
	late := time.After(engineTimeout)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !nc.IsConnected() {
		select {
		case <-look.C:
		case <-ctx.Done():
			nc.Close()
			return nil, ctx.Err()
		case <-late:
			nc.Close()
			return nil, fmt.Errorf("the engine at %s does not answer, or has another cluster-secret", c.ClusterURL)
		}
	}
	return nc, nil
}

// nodeLine is a node as nodesCommand shows it.
type nodeLine struct {
	Node         string `json:"node"`
	State        string `json:"state"`
	Rooms        int    `json:"rooms"`
	Participants int    `json:"participants"`
	Connected    int    `json:"connected"`
}

// nodesCommand lists the media nodes.
func nodesCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := readOperator("nodes", args, stderr)
	if err != nil {
		return err
	}
	if len(o.args) > 0 {
		return usageError(stderr, "sotto nodes takes no argument %q", o.args[0])
	}
	return o.with(ctx, func(r *cluster.Remote) error {
		list := []nodeLine{}
		for _, n := range r.Overview() {
			line := nodeLine{Node: n.ID, State: "running", Rooms: len(n.Rooms)}
			if n.Draining {
				line.State = "draining"
			}
			for _, room := range n.Rooms {
				line.Participants += room.Sessions
				line.Connected += room.Connected
			}
			list = append(list, line)
		}
		if o.json {
			return printJSON(stdout, list)
		}
		return printTable(stdout, "NODE\tSTATE\tROOMS\tPARTICIPANTS\tCONNECTED", func(w io.Writer) {
			for _, n := range list {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", n.Node, n.State, n.Rooms, n.Participants, n.Connected)
			}
		})
	})
}

// roomLine is what a node has of a room. The room is named as in the logs, by a hash that does not open its page.
type roomLine struct {
	Room         string `json:"room"`
	Node         string `json:"node"`
	Participants int    `json:"participants"`
	Connected    int    `json:"connected"`
	Tracks       int    `json:"tracks"`
}

// roomsCommand lists the rooms.
func roomsCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := readOperator("rooms", args, stderr)
	if err != nil {
		return err
	}
	if len(o.args) > 0 {
		return usageError(stderr, "sotto rooms takes no argument %q", o.args[0])
	}
	return o.with(ctx, func(r *cluster.Remote) error {
		list := []roomLine{}
		for _, n := range r.Overview() {
			for _, room := range n.Rooms {
				line := roomLine{Room: "?", Node: n.ID, Participants: room.Sessions, Connected: room.Connected, Tracks: room.Tracks}
				if id, err := protocol.ParseRoomID(room.Room); err == nil {
					line.Room = signal.RoomHash(id)
				}
				list = append(list, line)
			}
		}
		if o.json {
			return printJSON(stdout, list)
		}
		return printTable(stdout, "ROOM\tNODE\tPARTICIPANTS\tCONNECTED\tTRACKS", func(w io.Writer) {
			for _, l := range list {
				fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", l.Room, l.Node, l.Participants, l.Connected, l.Tracks)
			}
		})
	})
}

// drainCommand empties a node.
func drainCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := readOperator("drain", args, stderr)
	if err != nil {
		return err
	}
	if len(o.args) != 1 {
		return usageError(stderr, "sotto drain [flags] NODE: the id of one node is needed")
	}
	node := o.args[0]
	return o.with(ctx, func(r *cluster.Remote) error {
		if err := r.Drain(ctx, node); errors.Is(err, cluster.ErrNoNode) {
			return fmt.Errorf("no live node has the id %q", node)
		} else if err != nil {
			return err
		}
		if !slices.ContainsFunc(r.Overview(), func(n cluster.NodeInfo) bool { return n.ID != node && !n.Draining }) {
			fmt.Fprintln(stderr, "There is no other node: the calls stay until there is one.")
		}
		if o.json {
			return printJSON(stdout, map[string]string{"node": node, "state": "draining"})
		}
		_, err := fmt.Fprintf(stdout, "%s drains. It takes new rooms again after a restart.\n", node)
		return err
	})
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func printTable(w io.Writer, head string, lines func(io.Writer)) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	lines(t)
	return t.Flush()
}
