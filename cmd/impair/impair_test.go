//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sotto/sfu/sim"
	"sotto/sfu/unit"
)

func TestSettings(t *testing.T) {
	s, err := settings{DelayMs: 20, Loss: 0.1}.merged([]byte(`{"rate_kbps":500,"queue_ms":300,"loss":0}`))
	if err != nil {
		t.Fatal(err)
	}
	want := sim.LinkConfig{Rate: 500 * unit.Kbps, Queue: 300 * time.Millisecond, Delay: 20 * time.Millisecond}
	if got := s.link(); got != want {
		t.Errorf("link %+v, want %+v", got, want)
	}
	for _, bad := range []string{`{"rate_kbps":-1}`, `{"delay_ms":"20"}`, `[]`, ``} {
		if _, err := s.merged([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestApply_refuses(t *testing.T) {
	n := &network{hosts: make([]*host, 2)}
	for _, bad := range []string{`{"host":0,"link":"up"}`, `{"host":3,"link":"up"}`, `{"host":1,"link":"sideways"}`, `up`} {
		if n.apply([]byte(bad)) == nil {
			t.Errorf("%s was carried out", bad)
		}
	}
}

func TestDestination(t *testing.T) {
	packet := make([]byte, 20)
	packet[0] = 0x45
	copy(packet[16:], []byte{10, 98, 0, 1})
	if to, ok := destination(packet); !ok || to != middleAddress {
		t.Errorf("goes to %v, %v", to, ok)
	}
	for _, bad := range [][]byte{nil, packet[:19], append([]byte{0x60}, packet[1:]...)} {
		if to, ok := destination(bad); ok {
			t.Errorf("%x goes to %v", bad, to)
		}
	}
}

// inside tells this test binary, started anew within the network, what it is there.
const inside = "SOTTO_IMPAIR_TEST"

// The command gets a network whose link delays, and loses everything once it is told to. The test binary is the command, and
// the program on the host.
func TestRun(t *testing.T) {
	switch role := os.Getenv(inside); {
	case role == "middle":
		actMiddle(t)
		return
	case role != "":
		actHost(t, role)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces and TUN devices need root")
	}
	if trial, err := openHost("trial", middleAddress); err != nil {
		t.Skipf("no emulated network here: %v", err)
	} else {
		trial.close()
	}
	t.Setenv(inside, "middle")
	code, err := run(t.Context(), []string{"-hosts", "1", "-links", `{"delay_ms":30}`, os.Args[0], "-test.run=^TestRun$"})
	if code != 0 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
	left, err := exec.Command("ip", "netns", "list").Output()
	if err != nil || strings.Contains(string(left), fmt.Sprintf("sotto-%d-", os.Getpid())) {
		t.Errorf("namespaces left: %s, %v", left, err)
	}
}

// actMiddle answers every packet, and asks for two runs on the host.
func actMiddle(t *testing.T) {
	control := os.NewFile(3, "control")
	lines := bufio.NewScanner(control)
	var d description
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &d) != nil || len(d.Hosts) != 1 {
		t.Fatalf("first line: %s", lines.Bytes())
	}
	echo, err := net.ListenPacket("udp4", d.Server.Address+":0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := echo.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = echo.WriteTo(b[:n], from)
		}
	}()
	host := func(expect string) {
		c := exec.Command("ip", "netns", "exec", d.Hosts[0].Namespace, os.Args[0], "-test.run=^TestRun$")
		c.Env = append(os.Environ(), inside+"="+expect+" "+echo.LocalAddr().String())
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("host: %v\n%s", err, out)
		}
	}
	// sampled waits until the link up is as it should.
	sampled := func(fits func(linkSample) bool) {
		for lines.Scan() {
			var s sample
			if err := json.Unmarshal(lines.Bytes(), &s); err != nil || s.Error != "" {
				t.Fatalf("sample %s: %v", lines.Bytes(), err)
			}
			if fits(s.Up[0]) {
				return
			}
		}
		t.Fatal("no more samples")
	}
	host("answers")
	fmt.Fprintln(control, `{"host":1,"link":"up","set":{"loss":1,"rate_kbps":9000}}`)
	sampled(func(s linkSample) bool { return s.RateKbps == 9000 })
	host("silence")
	sampled(func(s linkSample) bool { return s.Lost > 0 })
}

// actHost sends packets to the middle, one after the other.
func actHost(t *testing.T, role string) {
	expect, address, _ := strings.Cut(role, " ")
	c, err := net.Dial("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		start := time.Now()
		_ = c.SetDeadline(start.Add(30 * time.Second))
		if expect == "silence" {
			_ = c.SetDeadline(start.Add(200 * time.Millisecond))
		}
		_, _ = c.Write([]byte("ping"))
		_, err := c.Read(make([]byte, 100))
		took := time.Since(start)
		switch {
		case expect == "silence" && errors.Is(err, os.ErrDeadlineExceeded):
			return
		case expect == "silence":
			t.Fatalf("an answer over a link that loses everything, or %v", err)
		case err != nil || took < 60*time.Millisecond:
			t.Fatalf("answer after %v: %v; each way takes 30 ms", took, err)
		}
	}
}
