package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/link"
	"sotto/signal/client"
	"sotto/signal/client/clips"
	"sotto/signal/protocol"
)

// startTimeout is how long joining and the first pictures may take in all, per participant and at least.
const (
	startTimeout   = 300 * time.Millisecond
	startTimeoutUp = 30 * time.Second
)

// settle is how long a change lasts before it is measured: the server's counters are up to a second old, so that what happened
// before, such as joins on the server's own core, would be among them.
const settle = 1200 * time.Millisecond

// rig holds what a measurement runs with.
type rig struct {
	scenario Scenario
	url      string
	clip     *clips.Clip
	latency  *latency // of frames
	late     *latency // of publishers behind their plan
	watch    *process // nil without a core of the server's own

	mu    sync.Mutex
	muxes []ice.UDPMux
	rooms []*roomRig

	// What disturb needs: the last two subscribers are its victims, and no statistics count them.
	link    *slowLink     // of the last, over TCP; nil = no victims
	stalled *stallingConn // of the one before
	victims []*client.Participant
}

type roomRig struct {
	keys         *link.Keys
	publishers   []*client.Participant
	participants []*client.Participant // all, publishers too
}

// heapLimit is what a process may take that measures without collecting.
const heapLimit = 4 << 30

// standAside leaves the server's core to it while it is measured. This process does not collect its garbage meanwhile either: a
// collection holds publishers up, which then send what was due all at once.
func standAside(cpu int) (back func(), err error) {
	home, err := keepOff(cpu)
	if err != nil || cpu < 0 {
		return home, err
	}
	runtime.GC()
	limit, percent := debug.SetMemoryLimit(heapLimit), debug.SetGCPercent(-1)
	return func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
		home()
	}, nil
}

// measure runs a scenario; cpu is the server's own core, or -1.
func measure(ctx context.Context, s Scenario, cpu int, target server) (*Result, error) {
	r, err := start(ctx, s, target, nil)
	if err != nil {
		return nil, err
	}
	defer r.close()
	back, err := standAside(cpu)
	if err != nil {
		return nil, err
	}
	defer back()
	if r.watch, err = startWatch(cpu); err != nil {
		return nil, err
	}
	if r.watch != nil {
		defer r.watch.close()
	}
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	return r.observe(ctx, target)
}

// start brings everybody in and returns when all have pictures and sound. With a link there are victims.
func start(ctx context.Context, s Scenario, target server, link *slowLink) (_ *rig, err error) {
	clip, err := clips.Load()
	if err != nil {
		return nil, err
	}
	r := &rig{scenario: s, url: target.url(), clip: clip, latency: new(latency), late: new(latency), link: link}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	people := s.Rooms * (s.Publishers + s.Subscribers)
	ctx, cancel := context.WithTimeout(ctx, max(startTimeoutUp, time.Duration(people)*startTimeout))
	defer cancel()
	if err := r.join(ctx); err != nil {
		return nil, err
	}
	return r, r.awaitMedia(ctx)
}

// observe measures for the scenario's duration.
func (r *rig) observe(ctx context.Context, target server) (*Result, error) {
	before, err := r.snapshot(target)
	if err != nil {
		return nil, err
	}
	for _, l := range []*latency{r.latency, r.late} {
		l.reset()
		l.on.Store(true)
		defer l.on.Store(false)
	}
	err = pause(ctx, r.scenario.Duration)
	if err != nil {
		return nil, err
	}
	after, err := r.snapshot(target)
	if err != nil {
		return nil, err
	}
	return r.result(before, after), nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// openSocket makes the socket of one participant. They cannot share: the server, like any, tells sessions apart by the
// client's address. last is its place among the victims, from the end. A multiplexer of one is still cheaper than what pion gathers by itself.
func (r *rig) openSocket(last int) (*stallingConn, ice.UDPMux, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, fmt.Errorf("bench: socket of a participant: %w", err)
	}
	_ = conn.SetReadBuffer(1 << 20) // for the bursts of many publishers; the kernel may grant less
	quiet := logging.NewDefaultLoggerFactory()
	quiet.Writer, quiet.DefaultLogLevel = io.Discard, logging.LogLevelDisabled
	stalling := &stallingConn{UDPConn: conn}
	mux := webrtc.NewICEUDPMux(quiet.NewLogger("ice"), stalling)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.muxes = append(r.muxes, mux)
	switch last {
	case 0:
		stalling.dumb.Store(true)
	case 1:
		r.stalled = stalling
	}
	return stalling, mux, nil
}

// join brings everybody in: publishers first, so that subscribers can ask for them.
func (r *rig) join(ctx context.Context) error {
	s := r.scenario
	for range s.Rooms {
		keys, err := link.Derive(link.NewSecret())
		if err != nil {
			return err
		}
		r.rooms = append(r.rooms, &roomRig{keys: keys})
	}
	if err := r.joinAll(ctx, s.Publishers, true); err != nil {
		return err
	}
	if err := r.joinAll(ctx, s.Subscribers, false); err != nil {
		return err
	}
	for _, room := range r.rooms {
		for _, p := range room.participants {
			if err := p.Want(ctx, r.wishes(room, p)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rig) joinAll(ctx context.Context, each int, publisher bool) error {
	gate := make(chan struct{}, r.scenario.Joins)
	var all sync.WaitGroup
	var failed error
	n := 0
	for range each {
		for _, room := range r.rooms {
			n++
			index := n
			gate <- struct{}{}
			all.Go(func() {
				defer func() { <-gate }()
				var p *client.Participant
				last := math.MaxInt // place among the victims
				if r.link != nil && !publisher {
					last = each*len(r.rooms) - index
				}
				socket, mux, err := r.openSocket(last)
				if err == nil {
					p, err = client.Join(ctx, r.config(room, index, socket, mux, publisher))
				}
				if err == nil {
					select {
					case <-p.Admitted():
					case <-ctx.Done():
						err = ctx.Err()
					}
				}
				r.mu.Lock()
				defer r.mu.Unlock()
				if err != nil {
					failed = errors.Join(failed, fmt.Errorf("bench: participant %d: %w", index, err))
					return
				}
				room.participants = append(room.participants, p)
				if publisher {
					room.publishers = append(room.publishers, p)
				}
				if last < 2 {
					r.victims = append(r.victims, p)
				}
			})
		}
	}
	all.Wait()
	return failed
}

func (r *rig) config(room *roomRig, index int, socket *stallingConn, mux ice.UDPMux, publisher bool) client.Config {
	s := r.scenario
	networks := []webrtc.NetworkType{webrtc.NetworkTypeUDP4}
	if socket.dumb.Load() {
		networks = append(networks, webrtc.NetworkTypeTCP4)
	}
	c := client.Config{
		URL:      r.url,
		Keys:     room.keys,
		Clip:     r.clip,
		Seed:     uint64(index),
		Observer: r.latency,
		Late:     r.late.add,
		Name:     "sotto-bench",
		// Publishers that do not send in step: spread over one frame interval of 30 frames/s.
		Phase: time.Duration(index) * 7919 * time.Microsecond % (33 * time.Millisecond),
		Engine: func(e *webrtc.SettingEngine) {
			e.SetICEUDPMux(mux)
			e.SetNetworkTypes(networks)
			e.DisableActiveTCP(len(networks) == 1)
			e.SetIncludeLoopbackCandidate(true)
		},
	}
	if publisher {
		c.Audio, c.Video, c.Synthetic = s.Audio, s.Video != "none", s.synthetic()
	}
	if !publisher || s.Meeting {
		if s.Audio {
			c.AudioSlots = client.Slots(s.Publishers)
		}
		if s.Video != "none" {
			c.VideoSlots = client.Slots(s.Publishers)
		}
	}
	return c
}

// wishes asks for everybody else's video.
func (r *rig) wishes(room *roomRig, p *client.Participant) []protocol.Wish {
	var wishes []protocol.Wish
	if r.scenario.Video == "none" {
		return nil
	}
	if !r.receives(room, p) {
		return nil
	}
	for _, q := range room.publishers {
		if q != p {
			wishes = append(wishes, protocol.Wish{ConnID: q.ConnID(), Source: protocol.SourceCamera, Height: r.scenario.Height})
		}
	}
	return wishes
}

func (r *rig) receives(room *roomRig, p *client.Participant) bool {
	if r.scenario.Meeting {
		return true
	}
	for _, q := range room.publishers {
		if q == p {
			return false
		}
	}
	return true
}

// expected is how many tracks p receives.
func (r *rig) expected(room *roomRig, p *client.Participant) int {
	if !r.receives(room, p) {
		return 0
	}
	n := len(room.publishers)
	if r.scenario.Meeting {
		n--
	}
	kinds := 0
	if r.scenario.Audio {
		kinds++
	}
	if r.scenario.Video != "none" {
		kinds++
	}
	return n * kinds
}

// awaitMedia waits until everybody has decoded something of every track.
func (r *rig) awaitMedia(ctx context.Context) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		missing := 0
		for _, room := range r.rooms {
			for _, p := range room.participants {
				if err := p.Err(); err != nil {
					return fmt.Errorf("bench: a participant dropped out: %w", err)
				}
				got := 0
				for _, t := range p.Stats().Tracks {
					if t.Decoded > 0 {
						got++
					}
				}
				missing += max(0, r.expected(room, p)-got)
			}
		}
		if missing == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("bench: %d tracks never showed: %w", missing, ctx.Err())
		case <-ticker.C:
		}
	}
}

func (r *rig) close() {
	var all sync.WaitGroup
	for _, room := range r.rooms {
		for _, p := range room.participants {
			all.Go(func() { _ = p.Close() })
		}
	}
	all.Wait()
	for _, m := range r.muxes {
		_ = m.Close()
	}
}
