package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sotto/cmd/sotto/internal/config"
	"sotto/signal"
	"sotto/signal/protocol"
)

// TestProcesses_operator: an operator sees nodes and rooms, by no name that opens anything, and can empty a node.
func TestProcesses_operator(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	keys := newRoom(t)
	s.join(keys, nil)
	shows(t, s.sfu, `node_peers\{state="connected"\} 1`)
	cluster := []string{"--cluster-secret-file", s.secret, "--cluster-url", s.engine}
	look := func(command string, more ...string) (status int, stdout, stderr string) {
		return call(t, append(append([]string{command}, cluster...), more...)...)
	}

	id := s.sfu.printed("node")
	if status, out, errs := look("nodes"); status != 0 || !regexp.MustCompile(`(?m)^`+id+` +running +1 +1 +1$`).MatchString(out) {
		t.Errorf("nodes: %d\n%s%s", status, out, errs)
	}
	room, err := protocol.ParseRoomID(keys.RoomID())
	if err != nil {
		t.Fatal(err)
	}
	status, out, errs := look("rooms", "--json")
	var rooms []roomLine
	if err := json.Unmarshal([]byte(out), &rooms); err != nil || status != 0 {
		t.Fatalf("rooms: %d, %v\n%s%s", status, err, out, errs)
	}
	want := roomLine{Room: signal.RoomHash(room), Node: id, Participants: 1, Connected: 1, Tracks: 1}
	if len(rooms) != 1 || rooms[0] != want {
		t.Errorf("rooms %+v, want %+v", rooms, want)
	}
	if strings.Contains(out, keys.RoomID()) || !strings.Contains(s.signal.text(&s.signal.log), rooms[0].Room) {
		t.Errorf("the room is not named as in the logs: %s", out)
	}

	if status, _, errs := look("drain", "nobody"); status != 1 || !strings.Contains(errs, `no live node has the id "nobody"`) {
		t.Errorf("drain of nobody: %d, %s", status, errs)
	}
	if status, _, _ := look("drain"); status != 2 {
		t.Errorf("drain without a node: %d", status)
	}
	if status, out, errs := look("drain", id); status != 0 || !strings.Contains(out, id+" drains") || !strings.Contains(errs, "no other node") {
		t.Errorf("drain: %d\n%s%s", status, out, errs)
	}
	until(t, "the node drains", func() bool { _, why := s.sfu.readyz(); return why == "draining\n" })
	second := s.startNode()
	shows(t, second, "node_rooms 1")
	shows(t, s.sfu, "node_rooms 0")
	shows(t, s.sfu, "node_draining 1")
	shows(t, second, `\w*joins_total\{result="ok"\} 1`)

	if status, out, errs := call(t, append([]string{"doctor", "sfu", "--media-listen", "127.0.0.1:0", "--metrics-listen", "", "--node-id", second.printed("node")}, cluster...)...); status != 0 ||
		!strings.Contains(out, "2 media nodes are there") || !strings.Contains(out, "is live") {
		t.Errorf("doctor: %d\n%s%s", status, out, errs)
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte(testSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	soon, key := certificate(t, dir, time.Now().Add(time.Hour))
	const service = "signal --open-rooms --cluster-listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 "
	for _, c := range []struct {
		args   string
		status int
		want   []string // patterns
	}{
		{"sfu --cluster-url 127.0.0.1:1 --metrics-listen :0 --media-listen 127.0.0.1:0", 1, []string{
			`ok       media ports +\d+, UDP and TCP`,
			`failure  engine .*does not answer.*: start sotto signal`,
			`warning  advertise +only this machine can reach 127.0.0.1`,
			`warning  metrics .*: let nobody but Prometheus`,
		}},
		{"sfu --shards 1000", 1, []string{`failure  configuration +shards .* is not between 1 and 256`}},
		{"sfu --config /nonexistent.yaml", 1, []string{`failure  configuration +.*nonexistent`}},
		{service + "--listen 127.0.0.1:0 --files-dir " + dir, 0, []string{`ok       certificate +none: a proxy`, `warning  proxy .*: set trusted-proxies`}},
		{service + "--listen 127.0.0.1:0 --files-dir " + filepath.Join(dir, "none"), 1, []string{`failure  files .*: set files-dir`}},
		{service + "--listen :0 --files-limit 0", 0, []string{`warning  certificate +none, and`}},
		{service + "--listen 192.0.2.1:80 --files-limit 0", 1, []string{`failure  page +.*: it is no address of this machine`}},
		{service + "--listen :0 --files-limit 0 --tls-cert " + soon + " --tls-key " + key, 0, []string{`warning  certificate +ends on .*: renew it`}},
		{"signal", 1, []string{`failure  configuration +api-key`}},
	} {
		status, out, errs := call(t, append(append([]string{"doctor"}, strings.Fields(c.args)...), "--cluster-secret-file", secret)...)
		if status != c.status {
			t.Errorf("%s: status %d, want %d\n%s%s", c.args, status, c.status, out, errs)
		}
		for _, want := range c.want {
			if !regexp.MustCompile(`(?m)^` + want).MatchString(out) {
				t.Errorf("%s: no %s\n%s%s", c.args, want, out, errs)
			}
		}
		if strings.Contains(out+errs, testSecret) {
			t.Errorf("%s: shows a secret", c.args)
		}
	}
	status, out, _ := call(t, "doctor", "signal", "--json", "--cluster-secret-file", secret)
	var list []finding
	if err := json.Unmarshal([]byte(out), &list); status != 1 || err != nil || len(list) != 1 || list[0].State != failure {
		t.Errorf("%d, %v\n%s", status, err, out)
	}
	if status, _, errs := call(t, "doctor", "dev"); status != 2 || !strings.Contains(errs, "sotto doctor signal|sfu") {
		t.Errorf("%d\n%s", status, errs)
	}
}

func TestDoctor_addresses(t *testing.T) {
	for text, want := range map[string]verdict{
		"203.0.113.7 10.0.0.1": fine, "2001:db8::1": fine, // documentation, but as public as any
		"10.0.0.1": warning, "fd00::1": warning, "169.254.1.1": warning, "100.64.0.1": warning, "127.0.0.1": warning,
	} {
		d := &doctor{config: &config.Config{}}
		var list []netip.AddrPort
		for a := range strings.FieldsSeq(text) {
			list = append(list, netip.AddrPortFrom(netip.MustParseAddr(a), 7000))
		}
		d.addresses(list)
		if len(d.list) != 1 || d.list[0].State != want {
			t.Errorf("%s: %s", text, fmt.Sprint(d.list))
		}
	}
}
