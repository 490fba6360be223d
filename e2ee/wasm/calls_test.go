package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"
)

// started is a machine behind callStart, with a position to vary.
func started(t testing.TB) *machine {
	m := &machine{}
	if got := m.call(startCall()); got[0] != statusOK {
		t.Skipf("start: status %d", got[0])
	}
	return m
}

func startCall() []byte {
	in := []byte{callStart, 0, 0}
	in = append(in, bytes.Repeat([]byte{1}, 32)...) // secret
	in = append(in, bytes.Repeat([]byte{2}, 16)...) // conn
	// The public key of RFC 8032, test 1.
	in = append(in, 0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
		0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a)
	in = append(in, bytes.Repeat([]byte{3}, 16)...) // host tag
	in = append(in, 0, 0)                           // policy
	return append(in, "Alice"...)
}

func at(kind uint8, rest ...byte) []byte {
	ms := math.Float64bits(float64(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).UnixMilli()))
	return append(binary.BigEndian.AppendUint64([]byte{kind}, ms), rest...)
}

func TestCall_malformedIsRefused(t *testing.T) {
	for name, in := range map[string][]byte{
		"empty":           {},
		"before start":    at(callTick),
		"short start":     startCall()[:60],
		"unknown":         at(200),
		"no time":         {callTick},
		"half a time":     {callTick, 1, 2, 3},
		"time is NaN":     {callTick, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0},
		"negative time":   {callTick, 0xc0, 0, 0, 0, 0, 0, 0, 0},
		"half a conn":     at(callJoined, 1, 2, 3),
		"half a list":     at(callPeers, make([]byte, 17)...),
		"half a position": at(callStale, 1, 2),
		"no id":           at(callSigned, 1),
		"no kind":         at(callSend),
	} {
		m := &machine{}
		if name != "before start" && name != "short start" {
			m = started(t)
		}
		if got := m.call(in); !bytes.Equal(got, []byte{statusMalformed}) {
			t.Errorf("%s: % x", name, got)
		}
	}
}

func TestCall_startsOnce(t *testing.T) {
	if got := started(t).call(startCall()); !bytes.Equal(got, []byte{statusOrder}) {
		t.Errorf("second start: % x", got)
	}
}

func FuzzCall(f *testing.F) {
	for kind := range uint8(callSecrets + 2) {
		f.Add(at(kind, make([]byte, 40)...))
	}
	f.Add(at(callWelcome, 0))
	f.Add(at(callEnvelope, make([]byte, 200)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		if out := started(t).call(in); len(out) == 0 {
			t.Error("no status")
		}
	})
}
