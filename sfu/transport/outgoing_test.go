package transport

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// keepBind notes the runs of each write.
type keepBind struct {
	Bind
	runs []Run
}

func (k *keepBind) WriteBatch(runs []Run) (int, error) {
	n := 0
	for _, r := range runs {
		k.runs = append(k.runs, Run{Data: bytes.Clone(r.Data), Segment: r.Segment, To: r.To})
		n += r.datagrams()
	}
	return n, nil
}

func (k *keepBind) shapes() (out []string) {
	for _, r := range k.runs {
		out = append(out, fmt.Sprintf("%d/%d", len(r.Data), r.Segment))
	}
	k.runs = nil
	return out
}

func TestFlush_formsRuns(t *testing.T) {
	b := newBench(t)
	id, cfg := b.open()
	other, otherCfg := b.open()
	b.deliver(check(cfg), client(1))
	b.deliver(check(otherCfg), client(2))
	keep := &keepBind{Bind: b.bind}
	b.e.writer = keep
	for _, test := range []struct {
		name    string
		lengths []int
		want    []string
	}{
		{"one", []int{100}, []string{"100/100"}},
		{"equal", []int{100, 100, 100}, []string{"300/100"}},
		{"last shorter", []int{100, 100, 40}, []string{"240/100"}},
		{"a shorter one ends the run", []int{100, 40, 40}, []string{"140/100", "40/40"}},
		{"a longer one begins a run", []int{40, 100, 100}, []string{"40/40", "200/100"}},
		{"shorter, then equal again", []int{100, 40, 100}, []string{"140/100", "100/100"}},
		{"at most 16", slices.Repeat([]int{10}, 20), []string{"160/10", "40/10"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, n := range test.lengths {
				b.e.Send(id, make([]byte, n), 0)
			}
			b.e.Send(other, make([]byte, 7), 0) // another destination takes a run of its own
			if got := b.e.Flush(); got != len(test.lengths)+1 {
				t.Fatal(got)
			}
			if got := keep.shapes(); !slices.Equal(got, append(test.want, "7/7")) {
				t.Fatalf("got %v, want %v", got, test.want)
			}
		})
	}
}

// Full says when it is time to flush; who does not listen loses nothing.
func TestFull(t *testing.T) {
	b := newBench(t)
	id, cfg := b.open()
	b.deliver(check(cfg), client(1))
	keep := &keepBind{Bind: b.bind}
	b.e.writer = keep
	for i := range 3 * maxQueuedRuns {
		if full := i >= maxQueuedRuns; b.e.Full() != full {
			t.Fatalf("full after %d messages: %v", i, !full)
		}
		b.e.Send(id, make([]byte, 100+i), 0) // longer each time: no run
	}
	if got := b.e.Flush(); got != 3*maxQueuedRuns || b.e.Full() {
		t.Fatal(got)
	}
}

// Whatever is sent, in whatever way, arrives in order and unchanged.
func TestFlush_keepsBytesAndOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	b := newBench(t)
	id, cfg := b.open()
	b.deliver(check(cfg), client(1))
	keep := &keepBind{Bind: b.bind}
	b.e.writer = keep
	var want, got [][]byte
	for i := range 20_000 {
		n := 1 + r.IntN(4)*400
		data := bytes.Repeat([]byte{byte(i)}, n)
		switch r.IntN(4) {
		case 0: // own memory
			b.e.Send(id, data, 0)
			want = append(want, data)
		case 1, 2: // the slab
			buf := append(b.e.Slab(n+r.IntN(40)), data...)
			b.e.Send(id, buf, 0)
			want = append(want, data)
		case 3: // several segments
			segment := 1 + r.IntN(n)
			b.e.Send(id, data, segment)
			want = slices.AppendSeq(want, slices.Chunk(data, segment))
		}
		if r.IntN(30) == 0 {
			b.e.Flush()
		}
	}
	b.e.Flush()
	for _, run := range keep.runs {
		if len(run.Data) > run.Segment*maxRunSegments || len(run.Data) > maxRunBytes {
			t.Fatalf("run of %d/%d", len(run.Data), run.Segment)
		}
		got = slices.AppendSeq(got, slices.Chunk(run.Data, run.Segment))
	}
	if !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("%d packets out, %d in", len(got), len(want))
	}
	if b.e.Stats().DatagramsOut != uint64(len(want))+1 { // and one STUN answer
		t.Fatal(b.e.Stats().DatagramsOut)
	}
	if c := cap(b.e.slab); c != slabSize {
		t.Fatalf("slab of %d", c)
	}
}

// What was sent before a session ended still goes out to its address, and its successor in the same slot gets none of it.
func TestFlush_afterClose(t *testing.T) {
	b := newBench(t)
	id, cfg := b.open()
	b.deliver(check(cfg), client(1))
	next, cfg := b.open()
	b.deliver(check(cfg), client(2))
	keep := &keepBind{Bind: b.bind}
	b.e.writer = keep
	b.e.Send(id, []byte("last"), 0)
	b.e.Close(b.now, id)
	b.e.Send(id, []byte("late"), 0)
	b.e.Send(next, []byte("x"), 0)
	if n := b.e.Flush(); n != 2 || string(keep.runs[0].Data) != "last" || keep.runs[0].To != client(1) ||
		string(keep.runs[1].Data) != "x" || keep.runs[1].To != client(2) {
		t.Fatalf("%d %v", n, keep.runs)
	}
	if b.e.Stats().Drops[DropStaleSession] != 1 {
		t.Fatal(b.e.Stats().Drops)
	}
}

// Outboxes of other goroutines send through the same bind, and what they count is the endpoint's.
func TestOutbox_severalAtOnce(t *testing.T) {
	const packets = 500
	b := newBench(t)
	boxes := []*Outbox{&b.e.Outbox, b.e.NewOutbox(), b.e.NewOutbox()}
	ids := make([]SessionID, len(boxes))
	for i := range ids {
		id, cfg := b.open()
		b.deliver(check(cfg), client(1+i))
		ids[i] = id
	}
	before := b.e.Stats()
	var all sync.WaitGroup
	for i, o := range boxes {
		all.Go(func() {
			for k := range packets {
				o.Send(ids[i], append(o.Slab(4), byte(i), byte(k>>8), byte(k)), 0)
				if k%(7+i) == 0 {
					o.Flush()
				}
			}
			o.Send(0, []byte("nobody"), 0)
			o.Flush()
		})
	}
	all.Wait()
	next := map[netip.AddrPort]int{}
	for range len(boxes) * packets {
		p := <-b.bind.Sent()
		i := int(p.Data[0])
		if k := int(p.Data[1])<<8 | int(p.Data[2]); p.To != client(1+i) || k != next[p.To] {
			t.Fatalf("packet %d of outbox %d after %d", k, i, next[p.To])
		}
		next[p.To]++
	}
	after := b.e.Stats()
	if n := after.DatagramsOut - before.DatagramsOut; n != uint64(len(boxes)*packets) || after.Drops[DropStaleSession] != uint64(len(boxes)) ||
		after.BytesOut-before.BytesOut != 3*n {
		t.Fatalf("%+v", after)
	}
}
