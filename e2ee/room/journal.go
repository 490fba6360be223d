package room

import (
	"cmp"
	"slices"
	"sync"

	"sotto/e2ee/sframe"
)

// maxJournal bounds what waits for the next list: more than three layers and
// sound make in eight seconds. Of what does not fit no list tells.
const maxJournal = 2048

// journal is what own sources have sent since the last list. Safe for
// concurrent use.
type journal struct {
	mu       sync.Mutex // guards what follows
	digester *sframe.Digester
	frames   []sentFrame
	spare    []sentFrame
}

type sentFrame struct {
	kid    sframe.KID
	ctr    uint64
	digest sframe.Digest
}

func newJournal() *journal {
	return &journal{
		digester: sframe.NewDigester(),
		frames:   make([]sentFrame, 0, maxJournal), spare: make([]sentFrame, 0, maxJournal),
	}
}

// note records a protected frame.
func (j *journal) note(codec sframe.Codec, frame []byte) {
	f, err := sframe.Parse(codec, frame)
	if err != nil {
		return // what was protected here parses
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.frames) < maxJournal {
		j.frames = append(j.frames, sentFrame{f.KID, f.CTR, j.digester.Digest(&f)})
	}
}

// take returns what was recorded since the last call, by KID and counter. It is
// valid until the next call.
func (j *journal) take() []sentFrame {
	j.mu.Lock()
	taken := j.frames
	j.frames, j.spare = j.spare[:0], taken
	j.mu.Unlock()
	slices.SortFunc(taken, func(a, b sentFrame) int {
		return cmp.Or(cmp.Compare(a.kid, b.kid), cmp.Compare(a.ctr, b.ctr))
	})
	return taken
}
