package transport

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func randomAddr(r *rand.Rand) netip.AddrPort {
	var b [16]byte
	if r.IntN(2) == 0 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(r.IntN(4)), byte(r.IntN(8))}), uint16(1+r.IntN(40)))
	}
	b[0], b[15] = 0x20, byte(r.IntN(16))
	return netip.AddrPortFrom(netip.AddrFrom16(b), uint16(1+r.IntN(40)))
}

// The table does what a map does, over random insertions and removals.
func TestAddressTable_isAMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	table, model := newAddressTable(), map[netip.AddrPort][2]int{}
	for range 200_000 {
		a := randomAddr(r)
		if r.IntN(5) < 3 {
			v := [2]int{r.IntN(1000), r.IntN(maxRemotes)}
			table.set(a, uint16(v[0]), uint8(v[1]))
			model[a] = v
		} else {
			table.remove(a)
			delete(model, a)
		}
		b := randomAddr(r)
		session, slot, ok := table.get(b)
		want, known := model[b]
		if ok != known || ok && (int(session) != want[0] || int(slot) != want[1]) {
			t.Fatalf("got %v %v %v, want %v %v", session, slot, ok, want, known)
		}
	}
	if table.used != len(model) {
		t.Fatalf("%d used, %d known", table.used, len(model))
	}
	if _, _, ok := table.get(netip.AddrPort{}); ok {
		t.Fatal("found nothing")
	}
}

func TestAddressTable_allocatesNothing(t *testing.T) {
	table := newAddressTable()
	a := netip.MustParseAddrPort("[2001:db8::1]:4444")
	table.set(a, 7, 3)
	if n := testing.AllocsPerRun(100, func() { table.get(a) }); n != 0 {
		t.Fatal(n)
	}
}

func BenchmarkAddressTable(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	table := newAddressTable()
	addrs := make([]netip.AddrPort, 1024)
	for i := range addrs {
		addrs[i] = netip.AddrPortFrom(netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())}), uint16(r.Uint32()))
		table.set(addrs[i], uint16(i), 0)
	}
	b.ReportAllocs()
	for i := range b.N {
		table.get(addrs[i&1023])
	}
}
