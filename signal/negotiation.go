package signal

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.uber.org/zap"

	"sotto/sfu"
	"sotto/signal/protocol"
)

// negotiation is what a member wants of the media node: at most one offer at a
// time, the latest wishes, the mute states. One goroutine at a time talks to
// the node, started when there is something to say; what changes meanwhile is
// merged, so a busy node costs no memory. It lasts as long as the member, over
// all its connections.
type negotiation struct {
	server *Server
	member *member
	ctx    context.Context // ends with the member
	cancel context.CancelFunc
	worker sync.WaitGroup

	mu      sync.Mutex
	media   mediaState
	open    *protocol.Offer // waits for its answer
	working bool            // the worker runs
	closed  bool

	connected bool // the node said that this media session is up

	// reply is what the latest offer got, for a client that lost it with its
	// connection and offers again. It is kept until two pings were answered.
	reply      protocol.ServerMessage
	replyID    uint32
	replyPings int
	resumed    bool // no offer came yet since the client resumed

	wishes      []sfu.Wish // nil: none were sent yet
	wantID      *uint32
	wishesDirty bool
	muted       [protocol.MaxTracks]bool // by SFrame context
	mutesDirty  [protocol.MaxTracks]bool
	tracks      []protocol.OfferTrack // published

	// held: slots or what is wanted came while an offer is open. The client does
	// not know the media sections of its answer yet, so they follow it.
	held bool

	wanted      []sfu.Wanted // of the member's sources, as the node said last
	wantedKnown bool         // the client was told some
}

// mediaState is whether the node has a session of this member.
type mediaState uint8

const (
	mediaNever  mediaState = iota // none was asked for
	mediaJoined                   // the node has one
	mediaEnded                    // it had one
)

func newNegotiation(s *Server, m *member) *negotiation {
	ctx, cancel := context.WithCancel(s.ctx)
	return &negotiation{server: s, member: m, ctx: ctx, cancel: cancel}
}

// offer starts a negotiation, or says why not. After a resumption the client
// repeats an offer whose answer it does not have.
func (n *negotiation) offer(s *session, o *protocol.Offer) *refusal {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.member.room.attached(n.member, s) {
		return nil
	}
	resumed := n.resumed
	n.resumed = false
	switch {
	case resumed && n.open != nil && n.open.ID == o.ID:
		return nil // its answer comes
	case resumed && n.reply != nil && n.replyID == o.ID:
		n.send(n.reply)
		if n.mediaKnown() {
			n.tellMedia()
		}
		return nil
	case n.open != nil:
		return &refusal{id: &o.ID, code: protocol.CodeBadState, text: "an offer is open"}
	}
	n.open, n.reply = o, nil
	n.start()
	return nil
}

// want replaces the wishes.
func (n *negotiation) want(s *session, w *protocol.Want) {
	wishes := make([]sfu.Wish, len(w.Tracks))
	for i, t := range w.Tracks {
		wishes[i] = sfu.Wish{
			Peer: t.ConnID.String(), Source: string(t.Source),
			Height: t.Height, Priority: t.Priority, Paused: t.Paused,
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.member.room.attached(n.member, s) {
		return
	}
	n.wishes, n.wantID, n.wishesDirty = wishes, w.ID, true
	n.start()
}

// mute sets one source's state, and tells the room if the source is published.
func (n *negotiation) mute(s *session, m *protocol.Mute) {
	i, ok := m.Source.Context()
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.member.room.attached(n.member, s) {
		return
	}
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
	_, err := n.server.media.Update(ctx, u)
	if err == nil || n.ctx.Err() != nil {
		return
	}
	r := n.refusal(nil, err)
	if u.Wishes != nil {
		n.mu.Lock()
		r.id = n.wantID
		n.mu.Unlock()
	}
	n.refuse(r)
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
	n.replyID, n.replyPings = o.ID, 0
	held := n.held
	n.held = false
	switch {
	case err == nil:
		n.media = mediaJoined
		n.tracks = o.Tracks
		if fresh { // a new media session knows nothing yet
			n.wishesDirty = n.wishes != nil
			n.mutesDirty = n.muted // it takes every source as not muted
		}
		n.server.counters.offers.add("ok")
		n.reply = &protocol.Answer{ID: o.ID, SDP: answer}
		n.send(n.reply)
	case n.ctx.Err() != nil:
		return // nobody is there to be told
	default:
		if fresh || gone(err) {
			n.media, held = mediaEnded, false
			n.forgetMedia()
		}
		r := n.refusal(&o.ID, err)
		n.server.counters.offers.add(string(r.code))
		n.reply = r.message()
		n.refuse(r)
	}
	n.announce()
	if held {
		n.tellMedia()
	}
}

// join makes a media session. One that the node still has from before, which
// the service does not know of, is dropped.
func (n *negotiation) join(o *protocol.Offer) (string, error) {
	n.mu.Lock()
	n.media = mediaEnded // from here on there is something to leave
	n.connected = false
	n.forgetMedia()
	n.mu.Unlock()
	r := sfu.JoinRequest{
		Room: n.member.room.name, Peer: n.member.name,
		Offer: o.SDP, Tracks: mediaTracks(o.Tracks),
	}
	ctx, cancel := n.request()
	defer cancel()
	reply, err := n.server.media.Join(ctx, r)
	if errors.Is(err, sfu.ErrPeerExists) {
		n.leave()
		reply, err = n.server.media.Join(ctx, r)
	}
	return reply.Answer, err
}

func (n *negotiation) renegotiate(o *protocol.Offer) (string, error) {
	ctx, cancel := n.request()
	defer cancel()
	reply, err := n.server.media.Update(ctx, sfu.Update{
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
		n.held = true
	}
	if n.open != nil || n.media == mediaJoined {
		n.member.room.setSlots(n.member, slices.Clone(slots), n.mediaKnown())
	}
}

// demand tells the client what is wanted of its sources, likewise. The end of a
// media session takes back what was said of it: that may have come in while the
// next one was being negotiated.
func (n *negotiation) demand(wanted []sfu.Wanted) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Equal(wanted, n.wanted) || n.open == nil && n.media != mediaJoined {
		return
	}
	n.wanted = wanted
	if n.mediaKnown() {
		n.tellWanted()
	} else {
		n.held = true
	}
}

// tellWanted sends what is wanted. n.mu is held.
func (n *negotiation) tellWanted() {
	msg := &protocol.Wanted{}
	for _, w := range n.wanted {
		msg.Tracks = append(msg.Tracks, protocol.WantedTrack{Source: protocol.Source(w.Source), Layers: w.Layers, Codec: w.Codec})
	}
	n.wantedKnown = true
	n.send(msg)
}

// tellMedia tells the client how things stand with its media. n.mu is held.
func (n *negotiation) tellMedia() {
	n.member.room.resendSlots(n.member)
	if len(n.wanted) > 0 || n.wantedKnown {
		n.tellWanted()
	}
}

// mediaKnown reports whether the client knows the media session and the
// sections that the node speaks of now. n.mu is held.
func (n *negotiation) mediaKnown() bool { return n.open == nil && n.media == mediaJoined }

// forgetMedia drops what was said of a media session that is over; the client
// does so by itself. n.mu is held.
func (n *negotiation) forgetMedia() {
	n.held, n.wanted, n.wantedKnown = false, nil, false
	n.member.room.setSlots(n.member, nil, false)
}

// up takes note that the media session is connected.
func (n *negotiation) up() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.connected = true
}

// missing is ended for a session that a snapshot of the node does not have.
// One that is not connected yet is in none.
func (n *negotiation) missing() {
	n.mu.Lock()
	connected := n.connected
	n.mu.Unlock()
	if connected {
		n.ended(sfu.ReasonNodeClosed)
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
	n.forgetMedia()
	if reason != sfu.ReasonDrained { // its tracks come until it has joined elsewhere
		n.announce()
	}
	n.refuse(&refusal{code: protocol.CodeMediaClosed, text: "media session ended: " + reason})
}

// attach gives the member another connection and tells it how things stand. It
// returns the connection before, if there is one still.
func (n *negotiation) attach(s *session, c *protocol.Connect, welcome *protocol.Welcome) (*session, *refusal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before, refused := n.member.room.attach(n.member, s, c.ID, c.Resume.LastSeq, welcome)
	if refused != nil {
		return before, refused
	}
	n.resumed = true
	switch {
	case n.open != nil:
		n.held = true // some may have been lost with the connection
	case n.media == mediaJoined:
		n.tellMedia()
	case n.media == mediaEnded:
		n.refuse(&refusal{code: protocol.CodeMediaClosed, text: "media session ended"})
	}
	return before, nil
}

// restore takes a media session over that the node still has from before the
// service was restarted, and what the client says of its tracks. It is called
// before anybody else knows the member.
func (n *negotiation) restore(tracks []protocol.Track, o *orphan) {
	n.media, n.connected, n.resumed = mediaJoined, true, true
	n.wanted = o.wanted
	n.member.slots = o.slots
	for _, t := range tracks {
		i, ok := t.Source.Context()
		if !ok || !n.member.grant.publish[i] {
			continue
		}
		n.tracks = append(n.tracks, protocol.OfferTrack{Source: t.Source})
		n.member.tracks = append(n.member.tracks, t)
		n.muted[i], n.mutesDirty[i] = t.Muted, true
	}
}

// begin tells the node what a restored member said, and the member how its
// media stands.
func (n *negotiation) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.start()
	n.tellMedia()
}

// pinged takes note that the client answered a ping.
func (n *negotiation) pinged() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.replyPings++; n.replyPings >= 2 {
		n.reply = nil
	}
}

// close stops the worker and ends the media session, unless that goes on
// without this service. Nothing of this member reaches the node after it
// returns.
func (n *negotiation) close(keepMedia bool) {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	n.worker.Wait()
	n.mu.Lock()
	never := n.media == mediaNever
	n.mu.Unlock()
	if !never && !keepMedia {
		n.leave()
	}
}

// leave ends the media session, if the node has one. It does not depend on
// the client's connection: what it ends must end.
func (n *negotiation) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(n.ctx), n.server.limits.MediaTimeout)
	defer cancel()
	err := n.server.media.Leave(ctx, n.member.room.name, n.member.name)
	if err != nil && !gone(err) {
		// The node gives it up by itself when no media comes any more.
		n.server.log.Warn("media session not ended", logRoom(n.member.room.id), logConn(n.member.conn),
			zap.String("code", string(mediaCode(err))))
	}
}

func (n *negotiation) request() (context.Context, context.CancelFunc) {
	return context.WithTimeout(n.ctx, n.server.limits.MediaTimeout)
}

// send queues a message to the client, if it is connected.
func (n *negotiation) send(msg protocol.ServerMessage) { n.member.room.send(n.member, msg) }

// refuse tells the client of an error, if it is connected.
func (n *negotiation) refuse(r *refusal) {
	n.server.counters.errors.add(string(r.code))
	n.send(r.message())
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
