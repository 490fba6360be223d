// Package clips holds the media that native participants publish: one moving picture as three VP8 streams with temporal
// layers, and one second of sound as Opus. They are real: any decoder shows them. The README tells how they were made.
//
// Besides the frames it knows what each frame refers to, so that a receiver without a decoder can tell whether a decoder
// would have shown exactly the picture that was encoded.
package clips

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

//go:embed clip.json q.ivf h.ivf f.ivf voice.ivf
var files embed.FS

// ErrContainer is a damaged IVF file.
var ErrContainer = errors.New("clips: damaged container")

// Buffers is a set of VP8 reference buffers (RFC 6386 9.7).
type Buffers uint8

// The reference buffers that the clips use.
const (
	Last Buffers = 1 << iota
	Golden
	AltRef
	None Buffers = 0
	All          = Last | Golden | AltRef
)

// Frame is one encoded frame of a clip. Its fields are shared and must not be changed.
type Frame struct {
	Data    []byte
	Layer   int // 0 = lowest
	Index   int // position in the loop
	TID     uint8
	Key     bool
	Refs    Buffers // what it is predicted from
	Updates Buffers // what it replaces
	// Sources holds, for each buffer in Refs (0 last, 1 golden, 2 altref), the index of the frame that must be there.
	Sources [3]int
}

// Layer is one stream of the video clip: a loop that starts with its only key frame.
type Layer struct {
	RID           string
	Width, Height int
	Frames        []Frame
}

// Clip is the whole set. It is immutable and may be shared.
type Clip struct {
	Layers        []Layer // lowest first
	FrameInterval time.Duration
	Audio         []Frame
	AudioInterval time.Duration

	byHash map[Hash]*Frame
}

// Hash identifies a frame's content: SHA-256.
type Hash [sha256.Size]byte

// HashOf returns the identity of an encoded frame.
func HashOf(frame []byte) Hash { return sha256.Sum256(frame) }

// Find returns the frame of that content, video or audio.
func (c *Clip) Find(frame []byte) (*Frame, bool) {
	f, ok := c.byHash[HashOf(frame)]
	return f, ok
}

type sidecar struct {
	FramesPerSecond int `json:"frames_per_second"`
	Layers          []struct {
		RID    string `json:"rid"`
		File   string `json:"file"`
		Width  int    `json:"width"`
		Height int    `json:"height"`
	} `json:"layers"`
	Pattern []struct {
		TID     uint8  `json:"tid"`
		Refs    string `json:"refs"`
		Updates string `json:"updates"`
	} `json:"pattern"`
	Audio struct {
		File            string `json:"file"`
		FramesPerSecond int    `json:"frames_per_second"`
	} `json:"audio"`
}

// Load reads the embedded clips.
func Load() (*Clip, error) {
	raw, err := files.ReadFile("clip.json")
	if err != nil {
		return nil, err
	}
	var s sidecar
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("clips: clip.json: %w", err)
	}
	c := &Clip{
		FrameInterval: time.Second / time.Duration(s.FramesPerSecond),
		AudioInterval: time.Second / time.Duration(s.Audio.FramesPerSecond),
		byHash:        map[Hash]*Frame{},
	}
	for i, l := range s.Layers {
		frames, err := load(l.File)
		if err != nil {
			return nil, err
		}
		layer := Layer{RID: l.RID, Width: l.Width, Height: l.Height}
		var holds [3]int // frame index in each buffer
		for k, data := range frames {
			step := s.Pattern[k%len(s.Pattern)]
			f := Frame{Data: data, Layer: i, Index: k, TID: step.TID, Refs: buffersOf(step.Refs), Updates: buffersOf(step.Updates)}
			if k == 0 {
				f.Key, f.Refs, f.Updates = true, None, All
			}
			f.Sources = holds
			for b := range holds {
				if f.Updates&(1<<b) != 0 {
					holds[b] = k
				}
			}
			layer.Frames = append(layer.Frames, f)
		}
		c.Layers = append(c.Layers, layer)
	}
	audio, err := load(s.Audio.File)
	if err != nil {
		return nil, err
	}
	for k, data := range audio {
		c.Audio = append(c.Audio, Frame{Data: data, Index: k, Key: true})
	}
	for i := range c.Layers {
		c.index(c.Layers[i].Frames)
	}
	c.index(c.Audio)
	return c, nil
}

func (c *Clip) index(frames []Frame) {
	for i := range frames {
		c.byHash[HashOf(frames[i].Data)] = &frames[i]
	}
}

func load(name string) ([][]byte, error) {
	raw, err := files.ReadFile(name)
	if err != nil {
		return nil, err
	}
	frames, err := readIVF(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return frames, nil
}

func buffersOf(s string) Buffers {
	var b Buffers
	for _, r := range s {
		switch r {
		case 'L':
			b |= Last
		case 'G':
			b |= Golden
		case 'A':
			b |= AltRef
		}
	}
	return b
}

// readIVF splits an IVF file: a header that tells its own length, then frames of {u32 size, u64 time stamp, data}, all
// little-endian.
func readIVF(raw []byte) ([][]byte, error) {
	if len(raw) < 32 || !bytes.HasPrefix(raw, []byte("DKIF")) {
		return nil, ErrContainer
	}
	header := int(binary.LittleEndian.Uint16(raw[6:]))
	if header < 32 || header > len(raw) {
		return nil, ErrContainer
	}
	var frames [][]byte
	for rest := raw[header:]; len(rest) > 0; {
		if len(rest) < 12 {
			return nil, ErrContainer
		}
		size := uint64(binary.LittleEndian.Uint32(rest))
		if size == 0 || size > uint64(len(rest)-12) {
			return nil, ErrContainer
		}
		frames = append(frames, rest[12:12+size:12+size])
		rest = rest[12+size:]
	}
	if len(frames) == 0 {
		return nil, ErrContainer
	}
	return frames, nil
}
