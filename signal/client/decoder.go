package client

import (
	"errors"

	"sotto/signal/client/clips"
)

// Reasons why a decoder could not show a frame.
var (
	errUnknownFrame = errors.New("client: not a frame of the clip")
	errNoKeyFrame   = errors.New("client: no key frame of this layer before it")
	errReference    = errors.New("client: a frame that it refers to is missing")
)

// decoder is a model of a VP8 decoder that knows the clip: it tracks which frame each reference buffer holds, and so tells
// whether a real one would show exactly what was encoded. The zero value waits for a key frame.
type decoder struct {
	running bool
	layer   int
	buffers [3]int // index of the frame in each buffer
}

// syntheticDecoder is a model of a decoder of synthetic frames: it knows which of the stream's recent frames it has. The zero value
// waits for a key frame.
type syntheticDecoder struct {
	running bool
	numbers [64]uint64 // of the frames that it has, by number
}

// feed takes the next frame in order, as decoder.feed does.
func (d *syntheticDecoder) feed(f *syntheticFrame) error {
	if len(f.refs) == 0 {
		*d = syntheticDecoder{running: true}
	}
	if !d.running {
		return errNoKeyFrame
	}
	for _, ref := range f.refs {
		if d.numbers[ref%uint64(len(d.numbers))] != ref {
			return errReference
		}
	}
	d.numbers[f.number%uint64(len(d.numbers))] = f.number
	return nil
}

// feed takes the next frame in order. On an error the picture would be missing or wrong, and a key frame is due.
func (d *decoder) feed(f *clips.Frame) error {
	if !f.Key {
		if !d.running || d.layer != f.Layer {
			return errNoKeyFrame
		}
		for b, have := range d.buffers {
			if f.Refs&(1<<b) != 0 && have != f.Sources[b] {
				return errReference
			}
		}
	}
	d.running, d.layer = true, f.Layer
	for b := range d.buffers {
		if f.Updates&(1<<b) != 0 {
			d.buffers[b] = f.Index
		}
	}
	return nil
}
