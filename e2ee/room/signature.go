package room

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"sotto/e2ee/group"
	"sotto/e2ee/sframe"
)

// Everybody in the group has everybody's media keys: a member could forge frames
// of another, if the server lets them in. Application messages are signed. So
// who signs its media tells every second which frames it has sent, and those
// who opened others under its name notice.

// MessageSignatures is the type of the application message that tells the
// digests of the frames sent.
const MessageSignatures = 8

const (
	// maxSigned is the largest group in which media is signed: every list goes to
	// everybody.
	maxSigned = 16
	signEvery = time.Second
	// doubtFor is how long a peer stays [Unverified] after the last frame of which
	// its sender has not told in time.
	doubtFor = 5 * time.Second
	// maxList bounds a message, which may have 30 KiB, by what its parts take at most.
	maxList               = 24 << 10
	runLength, sumsLength = 40, 11
)

// signatures tells of frames of an epoch, by context.
type signatures struct {
	Epoch  uint64           `json:"epoch"`
	Frames map[string][]run `json:"frames"`
	Last   bool             `json:"last,omitempty"` // no more of them come
}

// run tells of the frames with counters From, From+1, …
type run struct {
	From uint64 `json:"from"`
	Sums string `json:"sums"` // digests behind one another, base64url
}

// sign tells of what was sent since the last time.
func (r *Room) sign(now time.Time) error {
	was := r.isSigning
	r.isSigning = len(r.group.Members()) <= maxSigned
	for c := range r.senders {
		if r.isSigning {
			r.senders[c].journal.Store(r.journal)
		} else {
			r.senders[c].journal.Store(nil)
		}
	}
	lists := r.lists(r.journal.take())
	if was && !r.isSigning {
		lists = append(lists, &signatures{Epoch: r.sending, Frames: map[string][]run{}, Last: true})
	}
	var errs error
	for _, l := range lists {
		body, err := json.Marshal(l)
		if err == nil {
			err = r.group.Send(now, MessageSignatures, body, &r.acts)
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

// lists puts sorted frames into as few messages as they fit in.
func (r *Room) lists(frames []sentFrame) (all []*signatures) {
	var l *signatures
	for length := 0; len(frames) > 0; {
		n := consecutive(frames)
		context, _, low, _ := frames[0].kid.Split()
		e := r.epochOf(low)
		if e == nil { // nobody opens them any more
			frames = frames[n:]
			continue
		}
		if l == nil || l.Epoch != e.number || length+runLength+sumsLength > maxList {
			l, length = &signatures{Epoch: e.number, Frames: make(map[string][]run)}, 0
			all = append(all, l)
		}
		n = min(n, (maxList-length-runLength)/sumsLength)
		sums := make([]byte, 0, n*len(sframe.Digest{}))
		for _, f := range frames[:n] {
			sums = append(sums, f.digest[:]...)
		}
		name := strconv.Itoa(int(context))
		l.Frames[name] = append(l.Frames[name], run{frames[0].ctr, base64.RawURLEncoding.EncodeToString(sums)})
		length += runLength + n*sumsLength
		frames = frames[n:]
	}
	return all
}

// consecutive is how many frames at the beginning have counters one after another.
func consecutive(frames []sentFrame) int {
	n := 1
	for n < len(frames) && frames[n].kid == frames[0].kid && frames[n].ctr == frames[0].ctr+uint64(n) {
		n++
	}
	return n
}

// signedRun is a run that was decoded: at least one digest.
type signedRun struct {
	from uint64
	sums []byte
}

// decodeSignatures returns also the runs of the contexts that are known.
func decodeSignatures(body []byte) (*signatures, map[sframe.Context][]signedRun, error) {
	s := &signatures{}
	if err := json.Unmarshal(body, s); err != nil || s.Epoch > maxEpochNumber || s.Frames == nil || len(s.Frames) > 16 {
		return nil, nil, errMessage
	}
	told := make(map[sframe.Context][]signedRun)
	for c := sframe.Microphone; c <= sframe.Data; c++ {
		for _, l := range s.Frames[strconv.Itoa(int(c))] {
			sums, err := base64.RawURLEncoding.Strict().DecodeString(l.Sums)
			n := len(sums) / len(sframe.Digest{})
			if err != nil || n == 0 || len(sums)%len(sframe.Digest{}) != 0 || l.From > sframe.MaxCTR-uint64(n) {
				return nil, nil, errMessage
			}
			told[c] = append(told[c], signedRun{l.From, sums})
		}
	}
	return s, told, nil
}

// signed takes the word of a member for what it sent.
func (r *Room) signed(now time.Time, m group.Message, out *Actions) error {
	s, told, err := decodeSignatures(m.Body)
	if err != nil {
		return err
	}
	p := r.peers[m.Conn]
	if p == nil || len(r.group.Members()) > maxSigned {
		return nil
	}
	begins := !p.signs
	p.signs = true
	if r.checkAt.IsZero() {
		r.checkAt = now.Add(signEvery)
	}
	e := r.epoch(s.Epoch)
	if e != nil && e.members[m.Leaf] == m.Conn && !e.removed[m.Leaf] {
		for c, runs := range told {
			v, err := e.receiver(sframe.MakeKID(c, m.Leaf, uint8(e.number)))
			if err != nil {
				return err
			}
			if v.ledger == nil {
				v.ledger = newLedger(v.KID(), 0)
				if begins {
					v.ledger.from = runs[0].from
				}
			}
			for _, l := range runs {
				for i := range len(l.sums) / len(sframe.Digest{}) {
					d := sframe.Digest(l.sums[i*len(sframe.Digest{}):])
					r.judge(now, p, v.ledger.tell(l.from+uint64(i), d), out)
				}
			}
		}
	}
	if s.Last {
		r.unsigned(p, out)
	}
	return nil
}

// account notes an opened frame of somebody who signs.
func (r *Room) account(now time.Time, p *peer, v *receiver, f *sframe.Frame, out *Actions) {
	if v.ledger == nil {
		v.ledger = newLedger(f.KID, 0)
	}
	r.judge(now, p, v.ledger.open(now, f.CTR, r.digester.Digest(f)), out)
}

func (r *Room) judge(now time.Time, p *peer, v verdict, out *Actions) {
	switch v {
	case genuine:
		r.stats.FramesVerified++
	case contradicted:
		r.stats.FramesForged++
		p.forged = true
		r.show(p, out)
	case unchecked:
		r.doubt(now, p, 1, out)
	}
}

// doubt notes frames of which nothing was heard.
func (r *Room) doubt(now time.Time, p *peer, n int, out *Actions) {
	r.stats.FramesUnverified += uint64(n)
	p.doubted = now.Add(doubtFor)
	r.show(p, out)
}

// unsigned forgets what somebody told who tells no more.
func (r *Room) unsigned(p *peer, out *Actions) {
	p.signs, p.doubted = false, time.Time{}
	for _, e := range r.epochs {
		for kid, v := range e.receivers {
			if _, leaf, _, _ := kid.Split(); e.members[leaf] == p.conn {
				v.ledger = nil
			}
		}
	}
	r.show(p, out)
}

// check looks for frames that are overdue, and ends doubts. It returns when to
// look again, zero if nobody signs.
func (r *Room) check(now time.Time, out *Actions) time.Time {
	if r.checkAt.IsZero() || now.Before(r.checkAt) {
		return r.checkAt
	}
	for _, e := range r.epochs {
		for kid, v := range e.receivers {
			if v.ledger == nil {
				continue
			}
			_, leaf, _, _ := kid.Split()
			if n, p := v.ledger.overdue(now), r.peers[e.members[leaf]]; n > 0 && p != nil {
				r.doubt(now, p, n, out)
			}
		}
	}
	r.checkAt = time.Time{}
	large := len(r.group.Members()) > maxSigned
	for _, p := range r.peers {
		if large && p.signs {
			r.unsigned(p, out)
		}
		if !p.doubted.IsZero() && !now.Before(p.doubted) {
			p.doubted = time.Time{}
			r.show(p, out)
		}
		if p.signs || !p.doubted.IsZero() {
			r.checkAt = now.Add(signEvery)
		}
	}
	return r.checkAt
}
