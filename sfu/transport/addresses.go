package transport

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"net/netip"
)

// addressTable maps remote UDP addresses to sessions: open addressing with
// linear probing on the address itself. A look-up allocates nothing; only
// connectivity checks insert.
type addressTable struct {
	entries []addressEntry // a power of two
	used    int
	seed    [2]uint64 // keyed: a client must not choose its bucket
}

type addressEntry struct {
	addr    netip.AddrPort // the zero value is a free entry
	session uint16         // index
	slot    uint8          // in session.remotes
}

const minAddressTable = 64

func newAddressTable() *addressTable {
	return &addressTable{
		entries: make([]addressEntry, minAddressTable),
		seed:    [2]uint64{rand.Uint64(), rand.Uint64()},
	}
}

func (t *addressTable) bucket(a netip.AddrPort) int {
	b := a.Addr().As16()
	lo := binary.LittleEndian.Uint64(b[:8]) ^ t.seed[0]
	hi := binary.LittleEndian.Uint64(b[8:]) ^ t.seed[1] ^ uint64(a.Port())<<48
	// One folded multiplication spreads all bits (as wyhash does); a second
	// one makes up for a factor that happens to be small.
	h, l := bits.Mul64(lo|1, hi|1)
	h, l = bits.Mul64(h^l^uint64(a.Port()), 0x9e3779b97f4a7c15)
	return int((h ^ l) & uint64(len(t.entries)-1))
}

func (t *addressTable) find(a netip.AddrPort) (int, bool) {
	for i := t.bucket(a); ; i = (i + 1) & (len(t.entries) - 1) {
		e := &t.entries[i]
		if e.addr == a {
			return i, true
		}
		if !e.addr.IsValid() {
			return i, false
		}
	}
}

// get returns the session index and slot of a.
func (t *addressTable) get(a netip.AddrPort) (session uint16, slot uint8, ok bool) {
	i, ok := t.find(a)
	if !ok || !a.IsValid() {
		return 0, 0, false
	}
	return t.entries[i].session, t.entries[i].slot, true
}

// set adds a or gives it to another session.
func (t *addressTable) set(a netip.AddrPort, session uint16, slot uint8) {
	i, found := t.find(a)
	if !found {
		// At most half full: probes stay short.
		if 2*(t.used+1) > len(t.entries) {
			t.grow()
			i, _ = t.find(a)
		}
		t.used++
	}
	t.entries[i] = addressEntry{addr: a, session: session, slot: slot}
}

func (t *addressTable) grow() {
	old := t.entries
	t.entries = make([]addressEntry, 2*len(old))
	for _, e := range old {
		if e.addr.IsValid() {
			i, _ := t.find(e.addr)
			t.entries[i] = e
		}
	}
}

// remove deletes a and closes the gap, so that no tombstones gather.
func (t *addressTable) remove(a netip.AddrPort) {
	i, found := t.find(a)
	if !found || !a.IsValid() {
		return
	}
	t.used--
	mask := len(t.entries) - 1
	for j := (i + 1) & mask; t.entries[j].addr.IsValid(); j = (j + 1) & mask {
		// An entry may move into the gap unless its own bucket lies behind it.
		home := t.bucket(t.entries[j].addr)
		if (j-home)&mask >= (j-i)&mask {
			t.entries[i] = t.entries[j]
			i = j
		}
	}
	t.entries[i] = addressEntry{}
}
