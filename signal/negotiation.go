package signal

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// negotiation is what a member wants of the media node: at most one offer at a
// time, the latest wishes, the mute states. One goroutine at a time talks to
// the node, started when there is something to say; what changes meanwhile is
// merged, so a busy node costs no memory.
type negotiation struct {
	session *session
	member  *member
	ctx     context.Context // ends with the session
	cancel  context.CancelFunc
	worker  sync.WaitGroup

	mu      sync.Mutex
	media   mediaState
	open    *protocol.Offer // waits for its answer
	working bool            // the worker runs
	closed  bool

	wishes      []sfu.Wish // nil: none were sent yet
	wantID      *uint32
	wishesDirty bool
	muted       [protocol.MaxTracks]bool // by SFrame context
	mutesDirty  [protocol.MaxTracks]bool
	tracks      []protocol.OfferTrack // published

	// held are slots that came while an offer is open: the client does not
	// know the media sections of its answer yet.
	held   []sfu.Slot
	isHeld bool
}

// mediaState is whether the node has a session of this member.
type mediaState uint8

const (
	mediaNever  mediaState = iota // none was asked for
	mediaJoined                   // the node has one
	mediaEnded                    // it had one
)

func newNegotiation(ctx context.Context, s *session, m *member) *negotiation {
	ctx, cancel := context.WithCancel(ctx)
	return &negotiation{session: s, member: m, ctx: ctx, cancel: cancel}
}

// offer starts a negotiation, or reports that one is open.
func (n *negotiation) offer(o *protocol.Offer) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open != nil {
		return false
	}
	n.open = o
	n.start()
	return true
}

// want replaces the wishes.
func (n *negotiation) want(w *protocol.Want) {
	wishes := make([]sfu.Wish, len(w.Tracks))
	for i, t := range w.Tracks {
		wishes[i] = sfu.Wish{
			Peer: t.ConnID.String(), Source: string(t.Source),
			Height: t.Height, Priority: t.Priority, Paused: t.Paused,
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wishes, n.wantID, n.wishesDirty = wishes, w.ID, true
	n.start()
}

// mute sets one source's state, and tells the room if the source is published.
func (n *negotiation) mute(m *protocol.Mute) {
	i, ok := m.Source.Context()
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.muted[i], n.mutesDirty[i] = m.Muted, true
	n.announce()
	n.start()
}

// announce tells the room what the member publishes. n.mu is held.
func (n *negotiation) announce() {
	var tracks []protocol.Track
	if n.media == mediaJoined {
		for _, t := range n.tracks {
			i, _ := t.Source.Context() // the decoder knows the sources
			tracks = append(tracks, protocol.Track{Source: t.Source, Muted: n.muted[i]})
		}
	}
	n.member.room.publish(n.member, tracks)
}

// start runs the worker unless it runs. n.mu is held.
func (n *negotiation) start() {
	if n.working || n.closed {
		return
	}
	n.working = true
	n.worker.Go(n.work)
}

// work does what there is to do, the offer first.
func (n *negotiation) work() {
	for {
		n.mu.Lock()
		offer := n.open
		update, changed := n.update()
		idle := n.closed || offer == nil && !changed
		if idle {
			n.working = false
		}
		n.mu.Unlock()
		switch {
		case idle:
			return
		case offer != nil:
			n.negotiate(offer)
		default:
			n.apply(update)
		}
	}
}

// update collects the wishes and mutes that the node does not know. While an
// offer is open they stay for later. n.mu is held.
func (n *negotiation) update() (sfu.Update, bool) {
	u := sfu.Update{Room: n.member.room.name, Peer: n.member.name}
	if n.open != nil || n.media != mediaJoined {
		return u, false
	}
	changed := n.wishesDirty
	if n.wishesDirty {
		u.Wishes = n.wishes
	}
	for i, source := range protocol.Sources() {
		if n.mutesDirty[i] {
			u.Mutes = append(u.Mutes, sfu.Mute{Source: string(source), Muted: n.muted[i]})
			changed = true
		}
	}
	n.wishesDirty, n.mutesDirty = false, [protocol.MaxTracks]bool{}
	return u, changed
}

// apply sends wishes and mutes.
func (n *negotiation) apply(u sfu.Update) {
	ctx, cancel := n.request()
	defer cancel()
	_, err := n.session.server.media.Update(ctx, u)
	if err == nil || n.ctx.Err() != nil {
		return
	}
	r := n.refusal(nil, err)
	if u.Wishes != nil {
		n.mu.Lock()
		r.id = n.wantID
		n.mu.Unlock()
	}
	n.session.refuse(r)
}

// negotiate answers an offer.
func (n *negotiation) negotiate(o *protocol.Offer) {
	n.mu.Lock()
	fresh := n.media != mediaJoined || o.Rejoin
	drop := n.media == mediaJoined && o.Rejoin
	n.mu.Unlock()

	if drop {
		n.leave()
	}
	var answer string
	var err error
	if fresh {
		answer, err = n.join(o)
	} else {
		answer, err = n.renegotiate(o)
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	n.open = nil
	slots, held := n.held, n.isHeld
	n.held, n.isHeld = nil, false
	switch {
	case err == nil:
		n.media = mediaJoined
		n.tracks = o.Tracks
		if fresh { // a new media session knows nothing yet
			n.wishesDirty = n.wishes != nil
			n.mutesDirty = n.muted // it takes every source as not muted
		}
		n.session.server.counters.offers.add("ok")
		n.session.send(&protocol.Answer{ID: o.ID, SDP: answer})
	case n.ctx.Err() != nil:
		return // nobody is there to be told
	default:
		if fresh || gone(err) {
			n.media, held = mediaEnded, false
		}
		r := n.refusal(&o.ID, err)
		n.session.server.counters.offers.add(string(r.code))
		n.session.refuse(r)
	}
	n.announce()
	if held {
		n.member.room.slots(n.member, slots)
	}
}

// join makes a media session. One that the node still has from before, which
// the service does not know of, is dropped.
func (n *negotiation) join(o *protocol.Offer) (string, error) {
	n.mu.Lock()
	n.media = mediaEnded // from here on there is something to leave
	n.held, n.isHeld = nil, false
	n.mu.Unlock()
	r := sfu.JoinRequest{
		Room: n.member.room.name, Peer: n.member.name,
		Offer: o.SDP, Tracks: mediaTracks(o.Tracks),
	}
	ctx, cancel := n.request()
	defer cancel()
	reply, err := n.session.server.media.Join(ctx, r)
	if errors.Is(err, sfu.ErrPeerExists) {
		n.leave()
		reply, err = n.session.server.media.Join(ctx, r)
	}
	return reply.Answer, err
}

func (n *negotiation) renegotiate(o *protocol.Offer) (string, error) {
	ctx, cancel := n.request()
	defer cancel()
	reply, err := n.session.server.media.Update(ctx, sfu.Update{
		Room: n.member.room.name, Peer: n.member.name,
		Offer: o.SDP, Tracks: mediaTracks(o.Tracks),
	})
	return reply.Answer, err
}

func mediaTracks(tracks []protocol.OfferTrack) []sfu.Track {
	list := make([]sfu.Track, len(tracks))
	for i, t := range tracks {
		list[i] = sfu.Track{MID: t.MID, Source: string(t.Source)}
	}
	return list
}

// slots tells the client what its slots carry, after the answer that names them.
func (n *negotiation) slots(slots []sfu.Slot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.open != nil {
		n.held, n.isHeld = slices.Clone(slots), true
		return
	}
	if n.media == mediaJoined {
		n.member.room.slots(n.member, slots)
	}
}

// ended takes note that the media node lost the session and tells everybody.
func (n *negotiation) ended(reason string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.media != mediaJoined || n.open != nil && n.open.Rejoin {
		return // the client knows, or has left that session itself
	}
	n.media = mediaEnded
	n.held, n.isHeld = nil, false
	n.announce()
	n.session.refuse(&refusal{code: protocol.CodeMediaClosed, text: "media session ended: " + reason})
}

// close stops the worker and ends the media session. Nothing of this member
// reaches the node after it returns.
func (n *negotiation) close() {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	n.worker.Wait()
	n.mu.Lock()
	never := n.media == mediaNever
	n.mu.Unlock()
	if !never {
		n.leave()
	}
}

// leave ends the media session, if the node has one. It does not depend on
// the client's connection: what it ends must end.
func (n *negotiation) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.ctx), n.session.server.limits.MediaTimeout)
	defer cancel()
	err := n.session.server.media.Leave(ctx, n.member.room.name, n.member.name)
	if err != nil && !gone(err) {
		// The node gives it up by itself when no media comes any more.
		n.session.log.Warn("media session not ended", logRoom(n.member.room.id), logConn(n.member.conn),
			zap.String("code", string(mediaCode(err))))
	}
}

func (n *negotiation) request() (context.Context, context.CancelFunc) {
	return context.WithTimeout(n.ctx, n.session.server.limits.MediaTimeout)
}

// refusal is what the client is told about an error of the node. Only what
// the node says about an offer is passed on: it names a rule, never content.
func (n *negotiation) refusal(id *uint32, err error) *refusal {
	r := &refusal{id: id, code: mediaCode(err), text: "media node"}
	if r.code == protocol.CodeBadOffer {
		r.text = clip(err.Error(), 256)
	}
	return r
}

// clip shortens developer text to at most limit bytes of ASCII.
func clip(s string, limit int) string {
	b := make([]byte, 0, min(len(s), limit))
	for i := 0; i < len(s) && len(b) < limit; i++ {
		if c := s[i]; 0x20 <= c && c < 0x7f {
			b = append(b, c)
		}
	}
	return string(b)
}

// mediaTimeout is how long the media node may take for one request: shorter
// than the page waits for its answer.
const mediaTimeout = 5 * time.Second
