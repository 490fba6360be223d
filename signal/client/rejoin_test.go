package client_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sotto/e2ee/sframe"
	"sotto/sfu"
	"sotto/signal/client"
	"sotto/signal/protocol"
)

// pair is two media nodes of which one has the room. It is the signal.Media of a call.
type pair struct {
	nodes [2]*sfu.Node

	mu     sync.Mutex
	at     int   // where the room is
	refuse error // of joins
	joins  []time.Time
	peers  map[string]string // room by peer
	events chan sfu.Event
}

func newPair(c *call) *pair {
	second := netip.AddrPortFrom(nodeAddress.Addr().Next(), nodeAddress.Port())
	p := &pair{peers: map[string]string{}, nodes: [2]*sfu.Node{c.startNode(nodeAddress), c.startNode(second)}}
	c.node = p.nodes[0] // the call closes it
	c.serve(p)
	return p
}

func (p *pair) close() {
	for _, n := range p.nodes {
		_ = n.Close()
	}
}

func (p *pair) node() *sfu.Node {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.nodes[p.at]
}

func (p *pair) Join(ctx context.Context, r sfu.JoinRequest) (sfu.JoinReply, error) {
	p.mu.Lock()
	p.joins = append(p.joins, time.Now())
	p.peers[r.Peer] = r.Room
	refuse := p.refuse
	p.mu.Unlock()
	if refuse != nil {
		return sfu.JoinReply{}, refuse
	}
	return p.node().Join(ctx, r)
}

func (p *pair) Update(ctx context.Context, u sfu.Update) (sfu.UpdateReply, error) {
	return p.node().Update(ctx, u)
}

func (p *pair) Kick(ctx context.Context, room, peer string) error {
	return p.node().Kick(ctx, room, peer)
}

func (p *pair) Leave(ctx context.Context, room, peer string) error {
	return p.node().Leave(ctx, room, peer)
}

// Events are those of the node that has the room, as of a cluster.
func (p *pair) Events(ctx context.Context) (<-chan sfu.Event, error) {
	p.events = make(chan sfu.Event, 256)
	var running sync.WaitGroup
	for i, n := range p.nodes {
		events, err := n.Events(ctx)
		if err != nil {
			return nil, err
		}
		running.Go(func() {
			for e := range events {
				p.mu.Lock()
				if i == p.at {
					p.events <- e
				}
				p.mu.Unlock()
			}
		})
	}
	go func() {
		running.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		close(p.events)
	}()
	return p.events, nil
}

// drain empties the node that has the room. Joins meet refuse, unless it is nil.
func (p *pair) drain(refuse error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.refuse, p.joins = 1-p.at, refuse, nil
	for peer, room := range p.peers {
		p.events <- sfu.Event{Kind: sfu.EventClosed, Room: room, Peer: peer, Reason: "drained"}
	}
}

// moving runs a call of two that see and hear each other.
func moving(t *testing.T, run func(c *call, nodes *pair, people [2]*client.Participant)) {
	synctest.Test(t, func(t *testing.T) {
		c := newNetworkOf(t, 0)
		nodes := newPair(c)
		defer nodes.close()
		defer c.close()
		people := [2]*client.Participant{c.join(c.config(1, 4)), c.join(c.config(2, 4))}
		for i, p := range people {
			defer p.Close()
			want(t, p, 720, people[1-i])
		}
		advance(3 * time.Second)
		run(c, nodes, people)
	})
}

// TestMedia_followsTheRoom: a room that is moved to another node, and back, goes on there by itself, with the wishes, mute states and
// counters of before.
func TestMedia_followsTheRoom(t *testing.T) {
	moving(t, func(_ *call, nodes *pair, people [2]*client.Participant) {
		if err := people[0].Mute(t.Context(), protocol.SourceMic, true); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			advance(mediaStable)
			var before [2]client.TrackStats
			for i, p := range people {
				before[i] = track(p, people[1-i], protocol.SourceCamera)
			}
			muted := track(people[1], people[0], protocol.SourceMic).Opened
			heard := track(people[0], people[1], protocol.SourceMic).Decoded
			nodes.drain(nil)
			advance(2 * time.Second)
			for i, p := range people {
				got, keys := track(p, people[1-i], protocol.SourceCamera), p.Stats().Keys
				if got.Decoded < before[i].Decoded+20 || got.Unknown+got.Undecodable > 0 || got.Layer != 2 {
					t.Errorf("camera: %d decoded, before %d; %d undecodable, layer %d", got.Decoded, before[i].Decoded, got.Undecodable, got.Layer)
				}
				// A counter that began anew, or went on from another place than the last one, would be one that was seen.
				for _, why := range []sframe.Drop{sframe.DropReplay, sframe.DropOrder, sframe.DropStale, sframe.DropAuth} {
					if n := keys.Dropped[why]; n > 0 {
						t.Errorf("%d frames dropped as %v", n, why)
					}
				}
				if p.Err() != nil {
					t.Errorf("out of the room: %v", p.Err())
				}
			}
			if n := track(people[1], people[0], protocol.SourceMic).Opened; n != muted {
				t.Errorf("%d frames of a muted microphone", n-muted)
			}
			if n := track(people[0], people[1], protocol.SourceMic).Decoded; n < heard+75 {
				t.Errorf("%d frames of the other microphone", n-heard)
			}
			if len(nodes.joins) != 2 {
				t.Errorf("%d joins", len(nodes.joins))
			}
			if n := nodes.nodes[1-nodes.at].Stats().Peers; n > 0 {
				t.Errorf("%d sessions left behind", n)
			}
		}
	})
}

// TestMedia_triesAgainForAWhile: who finds no place at once tries again, later and later, each at a time of its own; and not for ever.
func TestMedia_triesAgainForAWhile(t *testing.T) {
	moving(t, func(_ *call, nodes *pair, people [2]*client.Participant) {
		nodes.drain(sfu.ErrOverloaded)
		advance(4 * time.Second)
		if n := len(nodes.joins); n < 6 || n > 14 {
			t.Errorf("%d attempts of two in 4 s", n)
		}
		nodes.mu.Lock()
		nodes.refuse = nil
		nodes.mu.Unlock()
		advance(8 * time.Second)
		before := track(people[0], people[1], protocol.SourceMic).Decoded
		advance(time.Second)
		if n := track(people[0], people[1], protocol.SourceMic).Decoded; n < before+40 {
			t.Errorf("%d frames heard after they found a place", n-before)
		}

		advance(mediaStable)
		nodes.drain(sfu.ErrOverloaded)
		began := time.Now()
		for _, p := range people {
			<-p.Done()
			var refused *client.RefusedError
			if err := p.Err(); !errors.As(err, &refused) || refused.Code != protocol.CodeBusy {
				t.Errorf("ended with %v", err)
			}
		}
		took := time.Since(began)
		if took < 20*time.Second || took > 33*time.Second {
			t.Errorf("gave up after %v", took)
		}
		times := map[time.Time]bool{}
		for _, at := range nodes.joins[2:] {
			times[at] = true
		}
		if n := len(nodes.joins); n < 10 || n > 24 || len(times) != n-2 {
			t.Errorf("%d attempts, at %d times after the first two", n, len(times))
		}
	})
}

// mediaStable is how long a media session must last for the next one to have the whole time again.
const mediaStable = 10 * time.Second

// TestMedia_endsWhereItCannotBe: a refusal that would be the same again ends the participation.
func TestMedia_endsWhereItCannotBe(t *testing.T) {
	moving(t, func(_ *call, nodes *pair, people [2]*client.Participant) {
		nodes.drain(sfu.ErrRoomFull)
		advance(time.Second)
		for _, p := range people {
			var refused *client.RefusedError
			if err := p.Err(); !errors.As(err, &refused) || refused.Code != protocol.CodeRoomFull {
				t.Errorf("ended with %v", err)
			}
		}
		if len(nodes.joins) != 2 {
			t.Errorf("%d joins", len(nodes.joins))
		}
	})
}

// TestMedia_comesBackAfterAnOutage: a path that was gone for longer than media sessions live is there again.
func TestMedia_comesBackAfterAnOutage(t *testing.T) {
	moving(t, func(c *call, nodes *pair, people [2]*client.Participant) {
		c.network.cut(true)
		advance(25 * time.Second)
		if n := nodes.node().Stats().Peers; n > 2 {
			t.Errorf("%d sessions of two", n)
		}
		c.network.cut(false)
		advance(12 * time.Second)
		for i, p := range people {
			before := track(p, people[1-i], protocol.SourceMic).Decoded
			advance(time.Second)
			if n := track(p, people[1-i], protocol.SourceMic).Decoded; n < before+45 {
				t.Errorf("%d frames heard; %v", n-before, p.Err())
			}
		}
	})
}
