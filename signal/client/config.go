package client

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/pion/webrtc/v4"

	"sotto/e2ee/group"
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
	// ErrStuck: the participant fell out of the group and nobody adds it again; join anew.
	ErrStuck = errors.New("client: the group does not take this participant back")
	// ErrRemoved: a member removed the participant, or its identity entered from elsewhere.
	ErrRemoved = errors.New("client: removed from the group")
	// ErrMedia: ICE or DTLS failed, and did so again where the media session was to be replaced.
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
	// Keys are those of the room's link, Gen is how often that has been replaced.
	Keys *link.Keys
	Gen  uint16
	// Person is what the others call this participant: at most 64 bytes, "" for no name.
	Person string
	// Identity signs for the participant (Ed25519); nil draws one for this participation.
	Identity crypto.Signer
	// HostToken lets the founder of a room put others out at the service; zero draws one.
	HostToken link.HostToken
	// SignMedia lets the others notice if a member of the room forges this participant's media; in rooms of at most 16.
	SignMedia bool
	// Policy of the room if this participant founds it.
	Policy group.Policy
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
	// Late, when set, is told of each frame of sound or video how late after its time it is sent: by the publishing goroutines,
	// which must not wait in it.
	Late func(time.Duration)
	// Observer, when set, is told of every received frame.
	Observer Observer
	// Listener, when set, is told what the group says.
	Listener Listener
}

// Listener hears the group. Its methods are called one at a time and must not block nor call the participant.
type Listener interface {
	// Message is an application message of another member.
	Message(group.Message)
	// Notice is what happened to the membership.
	Notice(group.Notice)
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
	if c.Identity == nil {
		if _, c.Identity, err = ed25519.GenerateKey(nil); err != nil {
			return "", err
		}
	}
	if c.HostToken == (link.HostToken{}) {
		c.HostToken = link.NewHostToken()
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
