package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sotto/signal/client"
)

func TestParse(t *testing.T) {
	tests := []struct {
		args string
		want error
	}{
		{"", nil},
		{"-publishers 1 -subscribers 100 -rate 1500", nil},
		{"-meeting 20 -video clip -audio", nil},
		{"-video none -audio", nil},
		{"-video none", errUsage},
		{"-video av1", errUsage},
		{"-publishers 0", errUsage},
		{"-publishers 200 -subscribers 100", errUsage},
		{"-duration 0s", errUsage},
		{"surplus", errUsage},
		{"-compare -rounds 0", errUsage},
	}
	for _, tt := range tests {
		if _, err := parse(strings.Fields(tt.args)); !errors.Is(err, tt.want) {
			t.Errorf("%q: %v, want %v", tt.args, err, tt.want)
		}
	}
	if _, err := parse([]string{"-h"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
}

func TestQuantile(t *testing.T) {
	bounds := []time.Duration{1, 2, 5}
	tests := []struct {
		counts []uint64
		q      float64
		want   time.Duration
	}{
		{[]uint64{0, 0, 0, 0}, 0.5, 0},
		{[]uint64{10, 0, 0, 0}, 0.99, 1},
		{[]uint64{50, 49, 1, 0}, 0.5, 2},
		{[]uint64{50, 49, 1, 0}, 0.99, 5},
		{[]uint64{1, 0, 0, 9}, 0.9, 10},
	}
	for _, tt := range tests {
		if got := quantile(bounds, tt.counts, tt.q); got != tt.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", tt.counts, tt.q, got, tt.want)
		}
	}
}

func TestLatency_countsOnlyWhileMeasuring(t *testing.T) {
	var l latency
	l.ReceivedFrame(frameOf(time.Second))
	l.on.Store(true)
	for range 99 {
		l.ReceivedFrame(frameOf(1020 * time.Microsecond))
	}
	l.ReceivedFrame(frameOf(time.Second))
	p := l.percentiles()
	if p.P50 != 1050*time.Microsecond || p.Max != time.Second {
		t.Errorf("%v", p)
	}
}

func TestRunning_readsTheCPUTimeOfAProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc")
	}
	r := running{pid: os.Getpid()}
	before, err := r.usage()
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 60*time.Millisecond; {
		_ = strconv.Itoa(int(time.Now().UnixNano()))
	}
	after, err := r.usage()
	if err != nil || after.CPU < before.CPU {
		t.Fatalf("%v after %v, %v", after.CPU, before.CPU, err)
	}
}

// TestPolled_doesNotWaitInTheKernel reads with a deadline, which only the poller knows.
func TestPolled_doesNotWaitInTheKernel(t *testing.T) {
	var ends [2]int
	if err := unix.Pipe(ends[:]); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[1])
	f, err := polled(ends[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// TestCatchUp_countsEveryBeat also those that pass while the thread does not run.
func TestCatchUp_countsEveryBeat(t *testing.T) {
	l := new(latency)
	l.on.Store(true)
	beat := time.Unix(1, 0)
	if next := l.catchUp(beat, beat.Add(-1)); next != beat || l.max.Load() != 0 {
		t.Errorf("before its time: %v", next.Sub(beat))
	}
	next := l.catchUp(beat, beat.Add(3*watchEvery+30*time.Microsecond))
	if next.Sub(beat) != 4*watchEvery || time.Duration(l.max.Load()) != 3*watchEvery+30*time.Microsecond {
		t.Errorf("next %v, latest %v", next.Sub(beat), time.Duration(l.max.Load()))
	}
	for i := range 4 {
		if n := l.buckets[i*int(watchEvery/latencyWidth)].Load(); n != 1 {
			t.Errorf("%d beats were %v late", n, time.Duration(i)*watchEvery)
		}
	}
}

// TestRun_measuresASmallRoom is the whole bench with its server in this process, over loopback sockets.
func TestRun_measuresASmallRoom(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	var out bytes.Buffer
	err := Run(t.Context(), strings.Fields("-in-process -publishers 1 -subscribers 2 -duration 500ms -audio"), &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"packets out", "frame latency", "publishers late", "packets lost", "undecodable 0, not opened 0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestRun_measuresTheNaiveForwarder is the same with what the server is compared with.
func TestRun_measuresTheNaiveForwarder(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	var out bytes.Buffer
	err := Run(t.Context(), strings.Fields("-in-process -naive -subscribers 2 -duration 500ms"), &out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"receiving 2 tracks", "undecodable 0, not opened 0"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}

// TestDisturb_harmsNobody runs the phases, longer than the age of the node's counters: nobody else loses a packet, and the junk
// is counted by name. Latencies are for who runs it by hand.
func TestDisturb_harmsNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	var out bytes.Buffer
	if err := Run(t.Context(), strings.Fields("-in-process -disturb -rounds 1 -subscribers 4 -duration 1200ms -rate 300"), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 || !strings.Contains(lines[2], "unknown_address:") || !strings.Contains(lines[2], "stun_malformed:") {
		t.Fatalf("%s", &out)
	}
	for _, line := range lines[1:] {
		if !strings.Contains(line, " lost 0 ") {
			t.Errorf("%s", line)
		}
	}
}

func TestCompare_takesOneScenarioOnly(t *testing.T) {
	for _, args := range []string{"-meeting 5", "-audio", "-video clip", "-rate 300", "-publishers 2", "-subscribers 0"} {
		if err := Run(t.Context(), strings.Fields("-compare "+args), io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestFloorSource_sealsEveryPacketOnce looks at what arrives: all of it, each under a number of its own.
func TestFloorSource_sealsEveryPacketOnce(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := Scenario{Rooms: 1, Publishers: 1, Subscribers: 1, Video: "synthetic", KbitPerSec: compareKbit}
	f, err := newFloorSource(s.load([]string{conn.LocalAddr().String()}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.bind.Close()
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 2048)
	const packets = 6 // 6,250 bytes
	for frame := range 3 {
		if err := f.burst(0); err != nil {
			t.Fatal(err)
		}
		for i := range packets {
			n, _, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				t.Fatal(err)
			}
			if seq := binary.BigEndian.Uint16(b[2:]); n != floorVideo+16 || int(seq) != frame*packets+i {
				t.Errorf("frame %d, packet %d: %d bytes, number %d", frame, i, n, seq)
			}
		}
	}
	if f.sent.Load() != 3*packets {
		t.Errorf("%d sent", f.sent.Load())
	}
}

// TestLoad_isWhatTheScenarioForwards compares packets per second.
func TestLoad_isWhatTheScenarioForwards(t *testing.T) {
	for _, tt := range []struct {
		s    Scenario
		want float64
	}{
		{Scenario{Rooms: 1, Publishers: 1, Subscribers: 100, Video: "synthetic", KbitPerSec: 1500}, 18_000},
		{Scenario{Rooms: 1, Publishers: 10, Meeting: true, Video: "synthetic", KbitPerSec: 1500, Audio: true}, 90 * (180 + 50)},
		{Scenario{Rooms: 20, Publishers: 5, Meeting: true, Video: "synthetic", KbitPerSec: 250}, 20 * 20 * 30},
		{Scenario{Rooms: 1, Publishers: 50, Meeting: true, Video: "none", Audio: true}, 50 * 49 * 50},
	} {
		sum, receivers := 0.0, tt.s.Rooms*tt.s.receivers()
		for _, f := range tt.s.load(make([]string, receivers)).Flows {
			for _, i := range f.To {
				if i < 0 || i >= receivers {
					t.Fatalf("%+v: receiver %d of %d", tt.s, i, receivers)
				}
			}
			sum += f.PerSecond * float64(f.Packets*len(f.To))
		}
		if sum != tt.want {
			t.Errorf("%+v: %.0f packets/s, want %.0f", tt.s, sum, tt.want)
		}
	}
}

func frameOf(latency time.Duration) client.FrameEvent { return client.FrameEvent{Latency: latency} }
