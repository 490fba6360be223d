package clips

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func load3(t *testing.T) *Clip {
	t.Helper()
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoad_everyFrameIsDistinctAndReachable(t *testing.T) {
	c := load3(t)
	if len(c.Layers) != 3 || len(c.Audio) != 50 {
		t.Fatalf("%d layers, %d audio frames", len(c.Layers), len(c.Audio))
	}
	total := len(c.Audio)
	for i, l := range c.Layers {
		total += len(l.Frames)
		for k := range l.Frames {
			f, ok := c.Find(l.Frames[k].Data)
			if !ok || f.Layer != i || f.Index != k {
				t.Fatalf("layer %d frame %d is found as %+v", i, k, f)
			}
			// RFC 6386 9.1: bit 0 of the first byte is 0 on key frames.
			if key := f.Data[0]&1 == 0; key != f.Key || key != (k == 0) {
				t.Fatalf("layer %d frame %d: key = %v", i, k, key)
			}
			if f.Key {
				w := int(binary.LittleEndian.Uint16(f.Data[6:])) & 0x3fff
				h := int(binary.LittleEndian.Uint16(f.Data[8:])) & 0x3fff
				if w != l.Width || h != l.Height {
					t.Fatalf("layer %d is %dx%d, not %dx%d", i, w, h, l.Width, l.Height)
				}
			}
			for b := range f.Sources {
				if f.Refs&(1<<b) == 0 {
					continue
				}
				if src := l.Frames[f.Sources[b]]; src.TID > f.TID || (src.TID == f.TID && f.TID != 0) {
					t.Fatalf("frame %d of temporal layer %d needs frame %d of %d", k, f.TID, src.Index, src.TID)
				}
			}
		}
	}
	if total != len(c.byHash) {
		t.Fatalf("%d frames, %d contents", total, len(c.byHash))
	}
}

// TestVP8_decodes gives the clips to a real decoder: whole, restarted at the key frame, and thinned by temporal layer. Each
// frame must come out as in the whole clip, which also proves the references that clip.json declares.
func TestVP8_decodes(t *testing.T) {
	decoder, err := exec.LookPath("vpxdec")
	if err != nil {
		t.Skip("vpxdec (Debian package vpx-tools) is not installed")
	}
	for _, l := range load3(t).Layers {
		t.Run(l.RID, func(t *testing.T) {
			whole := decode(t, decoder, l, l.Frames)
			if len(whole) != len(l.Frames) {
				t.Fatalf("%d of %d frames decoded", len(whole), len(l.Frames))
			}
			distinct := map[string]bool{}
			for _, sum := range whole {
				distinct[sum] = true
			}
			if len(distinct) < len(whole)-1 {
				t.Errorf("only %d distinct pictures of %d", len(distinct), len(whole))
			}
			tests := map[string][]Frame{
				"restarted in the middle": append(append([]Frame{}, l.Frames[:13]...), l.Frames...),
				"two rounds":              append(append([]Frame{}, l.Frames...), l.Frames...),
				"without layer 2":         upTo(l.Frames, 1),
				"only layer 0":            upTo(l.Frames, 0),
			}
			for name, frames := range tests {
				got := decode(t, decoder, l, frames)
				if len(got) != len(frames) {
					t.Errorf("%s: %d of %d frames decoded", name, len(got), len(frames))
					continue
				}
				for i, f := range frames {
					if got[i] != whole[f.Index] {
						t.Errorf("%s: frame %d (%d in the clip) looks different", name, i, f.Index)
						break
					}
				}
			}
		})
	}
}

func upTo(frames []Frame, tid uint8) []Frame {
	var kept []Frame
	for _, f := range frames {
		if f.TID <= tid {
			kept = append(kept, f)
		}
	}
	return kept
}

// decode returns the MD5 of each decoded picture.
func decode(t *testing.T, decoder string, l Layer, frames []Frame) []string {
	t.Helper()
	file := []byte("DKIF\x00\x00\x20\x00VP80")
	file = binary.LittleEndian.AppendUint16(file, uint16(l.Width))
	file = binary.LittleEndian.AppendUint16(file, uint16(l.Height))
	file = binary.LittleEndian.AppendUint32(file, 15)
	file = binary.LittleEndian.AppendUint32(file, 1)
	file = binary.LittleEndian.AppendUint32(file, uint32(len(frames)))
	file = append(file, 0, 0, 0, 0)
	for i, f := range frames {
		file = binary.LittleEndian.AppendUint32(file, uint32(len(f.Data)))
		file = binary.LittleEndian.AppendUint64(file, uint64(i))
		file = append(file, f.Data...)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "in.ivf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(decoder, "--i420", "--md5", "-o", filepath.Join(dir, "%4"), path).CombinedOutput()
	if err != nil {
		t.Fatalf("vpxdec: %v\n%s", err, out)
	}
	var sums []string
	for line := range strings.Lines(string(out)) {
		if sum, _, ok := strings.Cut(line, " "); ok && len(sum) == 32 {
			sums = append(sums, sum)
		}
	}
	return sums
}

func FuzzReadIVF(f *testing.F) {
	raw, err := files.ReadFile("q.ivf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:40])
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, err := readIVF(data)
		if err != nil {
			return
		}
		sum := 0
		for _, fr := range frames {
			sum += len(fr)
		}
		if sum > len(data) {
			t.Fatalf("%d bytes of frames out of %d", sum, len(data))
		}
	})
}
