package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/pion/webrtc/v4"

	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
	"sotto/signal/client/clips"
	"sotto/signal/protocol"
)

// Errors of Join and of a running participant. [RefusedError] is the service's own word.
var (
	ErrConfig = errors.New("client: bad configuration")
	ErrClosed = errors.New("client: participant is closed")
	// ErrProtocol: the service broke the protocol.
	ErrProtocol = errors.New("client: unexpected message of the service")
	// ErrMedia: ICE or DTLS failed.
	ErrMedia = errors.New("client: no media connection")
)

// RefusedError is an error message of the service.
type RefusedError struct {
	Code    protocol.Code
	Message string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("client: refused: %s (%s)", e.Code, e.Message)
}

// Config says who joins which room, and what it sends and takes.
type Config struct {
	// URL is the signaling endpoint: ws, wss, http or https, with its path.
	URL string
	// Keys are those of the room's link.
	Keys *link.Keys
	// MediaKeys, when not nil, replace Keys for media alone: a participant that was admitted and follows the room, but has
	// the wrong media key. For tests.
	MediaKeys *link.Keys
	// Dial opens the connection to the service; nil is a TCP connection.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Engine sets up sockets, ICE timeouts and whatever else the peer connection shall use; nil = pion's defaults. It runs
	// after the defaults of this package.
	Engine func(*webrtc.SettingEngine)
	// Name is what the service's statistics see of this client, at most 64 bytes; empty is "sotto-native".
	Name string

	// Audio and Video say what to publish.
	Audio, Video bool
	// Clip is what is published and what receivers compare with; nil loads the embedded one.
	Clip *clips.Clip
	// Synthetic, when set, replaces the clip's video by frames of a given rate that carry their send time.
	Synthetic *Synthetic
	// Codecs are the video codecs that can be received and, with a Synthetic source, sent; nil is VP8. A clip is VP8.
	Codecs []sframe.Codec
	// AudioSlots and VideoSlots are how many tracks can be received at the same time.
	AudioSlots, VideoSlots int

	// Seed draws what may differ between runs without changing the behaviour: first RTP numbers and timestamps.
	Seed uint64
	// Phase delays the start of publishing, so that many participants do not send in step.
	Phase time.Duration
	// Observer, when set, is told of every received frame.
	Observer Observer
}

// Observer watches the frames of a participant. Its method is called from the receiving goroutines, several at a time, and
// must not block.
type Observer interface {
	ReceivedFrame(FrameEvent)
}

// FrameEvent is a frame that opened.
type FrameEvent struct {
	At      time.Time
	From    protocol.ConnID
	Source  protocol.Source
	Layer   int  // 0 = lowest; 0 for audio
	Index   int  // position in the clip
	Decoded bool // a decoder would have shown it
	Bytes   int
	// Latency is send to receipt; known of synthetic frames only.
	Latency time.Duration
}

func (c *Config) complete() (host string, _ error) {
	if c.Keys == nil {
		return "", fmt.Errorf("%w: no keys", ErrConfig)
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("%w: URL", ErrConfig)
	}
	if c.AudioSlots < 0 || c.VideoSlots < 0 || c.AudioSlots+c.VideoSlots > protocol.MaxSlots-2 {
		return "", fmt.Errorf("%w: slots", ErrConfig)
	}
	if c.Clip == nil {
		if c.Clip, err = clips.Load(); err != nil {
			return "", err
		}
	}
	if c.MediaKeys == nil {
		c.MediaKeys = c.Keys
	}
	if c.Codecs == nil {
		c.Codecs = []sframe.Codec{sframe.VP8}
	}
	if c.Name == "" {
		c.Name = "sotto-native"
	}
	return u.Host, nil
}

// Slots returns the next step of the pool of receiving media sections that holds n tracks: 4, 9, 16, 25, 49.
func Slots(n int) int {
	for _, step := range []int{4, 9, 16, 25, 49} {
		if n <= step {
			return step
		}
	}
	return n
}
