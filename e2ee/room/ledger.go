package room

import (
	"time"

	"sotto/e2ee/sframe"
)

// overdueAfter is how long an opened frame may go without its sender's word.
// Lists come every second.
const overdueAfter = 5 * time.Second

// verdict is what a ledger finds.
type verdict uint8

const (
	// undecided: the other half is still to come.
	undecided verdict = iota
	// genuine: the sender says that it sent this frame.
	genuine
	// contradicted: the sender says that it sent another frame under this counter.
	contradicted
	// unchecked: a frame was opened that nothing is heard of any more.
	unchecked
)

// ledger compares the frames of one KID that were opened with those that their
// sender tells of, in whatever order the two come. It remembers as many
// counters as the replay window: what is older opens no more.
type ledger struct {
	from    uint64 // the sender tells of frames from here on
	entries []entry
}

type entry struct {
	ctr    uint64
	digest sframe.Digest
	opened time.Time // while the sender has not told
	state  entryState
}

type entryState uint8

const (
	entryEmpty entryState = iota
	entryOpened
	entryOverdue // opened, and it was said that it is late
	entryTold
	entryChecked // opened and told, or told twice
)

func newLedger(kid sframe.KID, from uint64) *ledger {
	n := sframe.VideoWindow
	if c, _, _, ok := kid.Split(); ok && c.Audio() {
		n = sframe.AudioWindow
	}
	return &ledger{from: from, entries: make([]entry, n)}
}

// open takes a frame that was opened.
func (l *ledger) open(now time.Time, ctr uint64, d sframe.Digest) verdict {
	e := &l.entries[ctr%uint64(len(l.entries))]
	switch {
	case ctr < l.from:
		return undecided // from before its sender began to tell
	case e.state != entryEmpty && e.ctr > ctr:
		return unchecked // the list was of so long ago that it is forgotten
	case e.state == entryTold && e.ctr == ctr:
		return e.compare(d)
	}
	v := e.replaced()
	*e = entry{ctr: ctr, digest: d, opened: now, state: entryOpened}
	return v
}

// tell takes the sender's word for a frame.
func (l *ledger) tell(ctr uint64, d sframe.Digest) verdict {
	e := &l.entries[ctr%uint64(len(l.entries))]
	switch {
	case e.state != entryEmpty && e.ctr > ctr:
		return undecided
	case e.state != entryEmpty && e.ctr == ctr:
		if e.state == entryOpened || e.state == entryOverdue {
			return e.compare(d)
		}
		return undecided // the first word counts
	}
	v := e.replaced()
	*e = entry{ctr: ctr, digest: d, state: entryTold}
	return v
}

func (e *entry) compare(d sframe.Digest) verdict {
	e.state = entryChecked
	if e.digest != d {
		return contradicted
	}
	return genuine
}

// replaced is the verdict on what was in an entry that another counter takes.
func (e *entry) replaced() verdict {
	if e.state == entryOpened {
		return unchecked
	}
	return undecided
}

// overdue counts the frames that have become overdue since the last call.
func (l *ledger) overdue(now time.Time) (n int) {
	for i := range l.entries {
		e := &l.entries[i]
		if e.state == entryOpened && now.Sub(e.opened) > overdueAfter {
			e.state = entryOverdue
			n++
		}
	}
	return n
}
