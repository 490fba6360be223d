package report

import (
	"testing"
	"time"

	"github.com/pion/rtcp"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

const first = uint64(1) << 32

func TestNTP_roundTrip(t *testing.T) {
	for _, tt := range []time.Time{start, start.Add(123456789), time.Date(2035, 12, 31, 23, 59, 59, 999, time.UTC), time.Date(2037, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if got := FromNTP(ToNTP(tt)); got.Sub(tt).Abs() > time.Nanosecond {
			t.Errorf("%v became %v", tt, got)
		}
	}
	if got := ToNTP(time.Unix(0, 0)) >> 32; got != 2_208_988_800 {
		t.Errorf("1970 is %d NTP seconds", got)
	}
}

func TestReceiver_loss(t *testing.T) {
	var r Receiver
	for n := range uint64(100) {
		if n%10 != 9 { // 10 % lost
			r.Received(start.Add(time.Duration(n)*10*time.Millisecond), first+65500+n, uint32(n*900), 90000)
		}
	}
	b := r.Report(start.Add(time.Second), 7)
	if b.TotalLost != 9 { // the last one is not known to be missing
		t.Errorf("total lost %d, want 9", b.TotalLost)
	}
	if b.FractionLost != uint8(9*256/99) {
		t.Errorf("fraction %d", b.FractionLost)
	}
	if b.LastSequenceNumber != 65500+98 {
		t.Errorf("highest %#x: cycles must count from 0", b.LastSequenceNumber)
	}
	if b = r.Report(start.Add(time.Second), 7); b.FractionLost != 0 {
		t.Errorf("fraction %d in an empty interval", b.FractionLost)
	}
}

func TestReceiver_jitter(t *testing.T) {
	var even, shaky Receiver
	for n := range uint64(500) {
		at := start.Add(time.Duration(n) * 20 * time.Millisecond)
		ts := uint32(0xFFFF_0000) + uint32(n*960) // wraps on the way
		even.Received(at, first+n, ts, 48000)
		shaky.Received(at.Add(time.Duration(n%2)*10*time.Millisecond), first+n, ts, 48000)
	}
	if j := even.Report(start, 1).Jitter; j > 1 {
		t.Errorf("even stream: jitter %d", j)
	}
	if j := shaky.Report(start, 1).Jitter; j < 450 || j > 490 { // 10 ms = 480 ticks
		t.Errorf("shaky stream: jitter %d, want about 480", j)
	}
}

func TestReceiver_duplicatesNeverGiveNegativeLoss(t *testing.T) {
	var r Receiver
	for range 10 {
		r.Received(start, first+5, 0, 90000)
	}
	if b := r.Report(start, 1); b.TotalLost != 0 || b.FractionLost != 0 {
		t.Errorf("%+v", b)
	}
}

func TestSender_roundTripTime(t *testing.T) {
	var s Sender
	s.Sent(1000)
	ntp := start.Add(-17 * time.Second) // another clock
	sr := s.Report(start, ntp, 9, 1234)
	if sr.PacketCount != 1 || sr.OctetCount != 1000 || sr.SSRC != 9 || sr.RTPTime != 1234 {
		t.Fatalf("%+v", sr)
	}
	// The far end receives it after 30 ms, waits 500 ms, and its answer takes 20 ms.
	var far Receiver
	far.Received(start, first, 0, 90000)
	far.SenderReport(start.Add(30*time.Millisecond), sr.NTPTime)
	b := far.Report(start.Add(530*time.Millisecond), 9)
	rtt, ok := s.RTT(start.Add(550*time.Millisecond), &b)
	if !ok || (rtt-50*time.Millisecond).Abs() > 100*time.Microsecond {
		t.Fatalf("rtt %v %v, want 50ms", rtt, ok)
	}
}

func TestSender_forgedReportsProveNothing(t *testing.T) {
	var s Sender
	sr := s.Report(start, start, 9, 0)
	for name, b := range map[string]rtcp.ReceptionReport{
		"no LSR":        {},
		"unknown LSR":   {LastSenderReport: Middle(sr.NTPTime) + 1},
		"DLSR too long": {LastSenderReport: Middle(sr.NTPTime), Delay: 1 << 30},
	} {
		if rtt, ok := s.RTT(start.Add(time.Second), &b); ok {
			t.Errorf("%s: rtt %v", name, rtt)
		}
	}
}

func TestClock(t *testing.T) {
	c := NewClock(start, 0xFFFF_FFFF, 90000)
	if got := c.At(start.Add(time.Second)); got != 89999 {
		t.Errorf("after a second: %d", got)
	}
	if got := c.At(start.Add(-time.Second)); got != 0xFFFF_FFFF-90000 {
		t.Errorf("a second before: %d", got)
	}
}
