package room

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// Attack 40: the keys of an epoch are gone from memory ten seconds after it ended. What a heap dump holds before and after
// tells; the pattern is kept masked, so that the search does not find itself.
func TestAttack40_oldKeysAreGone(t *testing.T) {
	if runtime.GOOS == "js" {
		t.Skip("no heap dump")
	}
	s, all := call(t, 2)
	const mask = 0x5a
	masked := make([]byte, 0, 16)
	alice := all[0]
	old := alice.epochs[len(alice.epochs)-1]
	number := old.number
	for _, b := range old.base[:] {
		masked = append(masked, b^mask)
	}
	old = nil
	s.log = nil
	if !heapHolds(t, masked, mask) {
		t.Fatal("the search does not find a key that is in use")
	}
	carol := s.join(3) // a later epoch
	s.run(12 * time.Second)
	s.log = nil
	for _, m := range append(all, carol) {
		if m.epoch(number) != nil {
			t.Errorf("%x still has epoch %d", m.Conn[0], number)
		}
	}
	if heapHolds(t, masked, mask) {
		t.Error("the base key of an epoch that is over is still in memory")
	}
	runtime.KeepAlive(all)
}

// heapHolds looks for a pattern, given masked, in a dump of the heap.
func heapHolds(t *testing.T, masked []byte, mask byte) bool {
	t.Helper()
	path := filepath.Join(t.TempDir(), "heap")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.GC() // what the first one found dead is swept
	debug.WriteHeapDump(f.Fd())
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	dump, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range dump {
		dump[i] ^= mask // the dump is masked instead, so no plain copy is made
	}
	found := bytes.Contains(dump, masked)
	clear(dump)
	return found
}
