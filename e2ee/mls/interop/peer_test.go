package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var required = flag.Bool("require", false, "fail where the test would be skipped")

// peer is the Node process with the members of the other implementation.
type peer struct {
	t     testing.TB
	in    *json.Encoder
	lines *bufio.Scanner
}

// request is what peer.mjs reads. Bytes are base64 in JSON.
type request struct {
	Op      string   `json:"op"`
	Name    string   `json:"name,omitempty"`
	ID      []byte   `json:"id,omitempty"`
	Secret  []byte   `json:"secret,omitempty"`
	Group   []byte   `json:"group,omitempty"`
	Policy  []byte   `json:"policy,omitempty"`
	Message []byte   `json:"message,omitempty"`
	Data    []byte   `json:"data,omitempty"`
	Adds    [][]byte `json:"adds,omitempty"`
	Removes []uint32 `json:"removes,omitempty"`
	PSK     []byte   `json:"psk,omitempty"`
	Private bool     `json:"private,omitempty"`
	Label   string   `json:"label,omitempty"`
	Context []byte   `json:"context,omitempty"`
	Length  int      `json:"length,omitempty"`
}

// answer is what peer.mjs writes.
type answer struct {
	Error   string `json:"error"`
	Message []byte `json:"message"`
	Welcome []byte `json:"welcome"`
	Data    []byte `json:"data"`
	Removed bool   `json:"removed"`
	agreed
}

// agreed is what all members of an epoch must have in common.
type agreed struct {
	Epoch         uint64 `json:"epoch"`
	TreeHash      []byte `json:"treeHash"`
	Transcript    []byte `json:"transcript"`
	Authenticator []byte `json:"authenticator"`
	Exported      []byte `json:"exported"`
}

// start runs peer.mjs, or skips the test where it cannot run.
func start(t *testing.T) *peer {
	t.Helper()
	skip := t.Skip
	if *required {
		skip = t.Fatal
	}
	if testing.Short() {
		skip("drives a process of another implementation")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		skip("node is not installed")
	}
	if _, err := os.Stat("node_modules/ts-mls"); err != nil {
		skip("its npm packages are not installed: run npm ci in this folder")
	}
	command := exec.Command(node, "peer.mjs")
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // the end of its input is the end of the process
		io.Copy(io.Discard, out)
		if err := command.Wait(); err != nil {
			t.Errorf("peer.mjs: %v", err)
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	return &peer{t: t, in: json.NewEncoder(in), lines: lines}
}

// try makes a request that may be refused.
func (p *peer) try(r request) (answer, error) {
	p.t.Helper()
	if err := p.in.Encode(r); err != nil {
		p.t.Fatal(err)
	}
	if !p.lines.Scan() {
		p.t.Fatalf("peer.mjs has ended: %v", p.lines.Err())
	}
	var a answer
	if err := json.Unmarshal(p.lines.Bytes(), &a); err != nil {
		p.t.Fatalf("peer.mjs: %v", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// do makes a request that must succeed.
func (p *peer) do(r request) answer {
	p.t.Helper()
	a, err := p.try(r)
	if err != nil {
		p.t.Fatalf("%s %s: %v", r.Name, r.Op, err)
	}
	return a
}

// refusesTree reports whether ts-mls 1.6.4 did not join because of its
// stricter reading of RFC 9420 12.4.3.1: it wants all nodes above an unmerged
// leaf to have equal lists of unmerged leaves, where the standard wants those
// between the leaf and a node that lists it to list it too.
func refusesTree(err error) bool {
	return err != nil && strings.Contains(err.Error(), "must list leaf node in its unmerged_leaves")
}
