// Package seq extends 16-bit RTP sequence numbers (RFC 3550 A.1) and finds duplicates among the extended ones.
package seq

// base keeps extended numbers positive however far a stream's first packets go backwards.
const base = 1 << 32

// Unwrapper turns 16-bit numbers into 64-bit ones. The first number n becomes 1<<32 + n; each later one is taken as the nearest to
// the highest so far. The zero value is ready.
type Unwrapper struct {
	top uint64
}

// Unwrap returns the extended number of n; it is never 0.
func (u *Unwrapper) Unwrap(n uint16) uint64 {
	if u.top == 0 {
		u.top = base + uint64(n)
		return u.top
	}
	ext := u.top + uint64(int64(int16(n-uint16(u.top))))
	if ext > u.top {
		u.top = ext
	}
	return ext
}

// Top returns the highest extended number so far, 0 before the first.
func (u *Unwrapper) Top() uint64 { return u.top }

// WindowSize is how many of the last numbers a Window remembers: about 3 s of 4 Mbit/s video, more than any repair takes.
const WindowSize = 1024

const words = WindowSize / 64

// Window remembers which of the last WindowSize extended numbers were seen. The zero value is ready.
type Window struct {
	top  uint64
	bits [words]uint64 // bit ext%WindowSize
}

// Add marks ext as seen. fresh is false for a number that was seen before, or is too old to tell, or 0.
func (w *Window) Add(ext uint64) (fresh bool) {
	word, bit := ext/64%words, uint64(1)<<(ext%64)
	switch {
	case ext > w.top:
		w.advance(ext)
	case w.top-ext >= WindowSize || ext == 0 || w.bits[word]&bit != 0:
		return false
	}
	w.bits[word] |= bit
	return true
}

// advance moves the top to ext and forgets the numbers that leave the window.
func (w *Window) advance(ext uint64) {
	if ext-w.top >= WindowSize {
		w.bits = [words]uint64{}
		w.top = ext
		return
	}
	for n := w.top + 1; n <= ext; n++ {
		if n%64 == 0 && n+63 <= ext { // a whole word
			w.bits[n/64%words] = 0
			n += 63
			continue
		}
		w.bits[n/64%words] &^= 1 << (n % 64)
	}
	w.top = ext
}
