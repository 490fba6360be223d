package protocol

import "time"

// The limits of version 1. A service announces its own values of those that a
// client needs in [Limits]; they are never above these.
const (
	// MaxMessage is the length in bytes of a text message, offers and answers
	// apart.
	MaxMessage = 64 << 10
	// MaxConnect is the length in bytes of the first message: nobody is
	// admitted yet, and a connect is some 400 bytes and a join token.
	MaxConnect = 8 << 10
	// MaxToken is the length in bytes of a join token.
	MaxToken = 4 << 10
	// MaxResume is the length in bytes of a resume token.
	MaxResume = 256
	// MaxSequence is the largest order number: JSON and JavaScript hold no
	// larger integer exactly.
	MaxSequence = 1<<53 - 1
	// MaxSDP is the length in bytes of a session description. Chromium's offer
	// with 50 media sections is 151 kB.
	MaxSDP = 256 << 10
	// MaxNegotiation is the length in bytes of a message that carries a
	// session description: JSON writes each CR LF in four bytes.
	MaxNegotiation = MaxSDP + 64<<10
	// MaxSealed is the length in bytes of the sealed part of an application
	// envelope.
	MaxSealed = 32 << 10
	// MaxSealedCreate is the length in bytes of the sealed part of an envelope
	// that creates a group or carries a key package.
	MaxSealedCreate = 8 << 10
	// MaxSealedCommit is the length in bytes of the sealed part of a commit. A
	// commit that adds 49 members is 16 kB.
	MaxSealedCommit = 256 << 10
	// MaxSealedWelcome is the length in bytes of the sealed part of a welcome,
	// which holds the whole tree.
	MaxSealedWelcome = 192 << 10
	// MaxAdmits is how many connections a bundle admits.
	MaxAdmits = 64
	// MaxBundle is the length in bytes of a bundle, the longest binary message.
	MaxBundle = bundleHead + MaxAdmits*16 + 4 + 2*EnvelopeHeaderSize + MaxSealedCommit + MaxSealedWelcome

	// HostTokenSize is the length in bytes of the token that a group's creator
	// keeps, HostTagSize that of its hash in the header of the create.
	HostTokenSize = 32
	HostTagSize   = 16
	// TicketSize is the length in bytes of a ticket.
	TicketSize = 32
	// MaxAliases is how many names a room gets besides its first from anybody,
	// MaxHostAliases how many in all: the rest are the host's, which must be able
	// to replace the link whatever members have registered.
	MaxAliases     = 8
	MaxHostAliases = 64
	// MaxFile is the length in bytes of an uploaded file: 64 MiB and the
	// overhead of its encryption.
	MaxFile = 64<<20 + 64<<10
	// FilePrefix begins the path of every file.
	FilePrefix = "/blob/"

	// MaxDepth is how deep arrays and objects nest.
	MaxDepth = 16
	// MaxMembers is how many members one JSON object has.
	MaxMembers = 64
	// MaxValues is how many values (and member names) one message has: bounds
	// the work of decoding.
	MaxValues = 16 << 10
	// MaxNumber is the length in bytes of a number's text.
	MaxNumber = 32

	// MaxPeers is how many connections a room has: a group's leaf is one byte
	// in an SFrame key id.
	MaxPeers = 256
	// MaxTracks is how many tracks a connection publishes: one of each source.
	MaxTracks = 4
	// MaxWishes is how many entries a want has.
	MaxWishes = 512
	// MaxLayers is how many layers a source has.
	MaxLayers = 8
	// MaxSlots is how many media sections an offer has.
	MaxSlots = 128
	// MaxMID is the length in bytes of a media section's mid.
	MaxMID = 16
	// MaxClient is the length in bytes of the client's free text.
	MaxClient = 64
	// MaxHeight is the largest height in pixels that a wish can name.
	MaxHeight = 8192

	// MinNonce and MaxNonce bound the length in bytes of hello's nonce.
	MinNonce = 16
	MaxNonce = 64

	// ConnectTimeout is how long the first message may take.
	ConnectTimeout = 5 * time.Second
	// ResumeTimeout is how long a participation outlives its WebSocket, and how
	// long a service that started anew waits for those of before.
	ResumeTimeout = 20 * time.Second
	// PingInterval is how often the service pings; a connection that lets two
	// intervals pass without a pong is closed.
	PingInterval = 15 * time.Second
	// MessageRate is how many messages of either kind a client may send per
	// second in the long run.
	MessageRate = 50
	// MessageBurst is how many it may send at once.
	MessageBurst = 200
	// ByteRate is how many bytes a client may send per second in the long run,
	// WebSocket framing and control frames included. An envelope goes to up to
	// 255 others, so this bounds the relay's egress too.
	ByteRate = 256 << 10
	// ByteBurst is how many bytes it may send at once.
	ByteBurst = 1 << 20
)

// Limits is what the service announces in hello. Sizes in bytes.
type Limits struct {
	Message        int `json:"message"`
	SDP            int `json:"sdp"`
	Sealed         int `json:"sealed"`
	Peers          int `json:"peers"`
	Wishes         int `json:"wishes"`
	Slots          int `json:"slots"`
	MessageRate    int `json:"message_rate"`
	MessageBurst   int `json:"message_burst"`
	ByteRate       int `json:"byte_rate"`
	ByteBurst      int `json:"byte_burst"`
	ConnectTimeout int `json:"connect_timeout_ms"`
	PingInterval   int `json:"ping_interval_ms"`
	ResumeTimeout  int `json:"resume_timeout_ms"`
}

// DefaultLimits are the constants of this package.
func DefaultLimits() Limits {
	return Limits{
		Message:        MaxMessage,
		SDP:            MaxSDP,
		Sealed:         MaxSealed,
		Peers:          MaxPeers,
		Wishes:         MaxWishes,
		Slots:          MaxSlots,
		MessageRate:    MessageRate,
		MessageBurst:   MessageBurst,
		ByteRate:       ByteRate,
		ByteBurst:      ByteBurst,
		ConnectTimeout: int(ConnectTimeout.Milliseconds()),
		PingInterval:   int(PingInterval.Milliseconds()),
		ResumeTimeout:  int(ResumeTimeout.Milliseconds()),
	}
}
