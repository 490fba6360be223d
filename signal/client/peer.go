package client

import (
	"io"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/logging"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"sotto/e2ee/sframe"
)

// Payload types of a native participant. Browsers number differently; the server maps.
const (
	payloadOpus   = 111
	payloadVP8    = 96
	payloadVP8RTX = 97
	payloadVP9    = 98
	payloadVP9RTX = 99
	payloadAV1    = 45
	payloadAV1RTX = 46
)

const (
	clockVideo = 90000
	clockAudio = 48000
)

// newPeerConnection makes a peer connection with as few goroutines as the work needs: no mDNS, and the interceptors for
// NACK, transport-wide feedback and reports.
func newPeerConnection(engine func(*webrtc.SettingEngine), codecs []sframe.Codec) (*webrtc.PeerConnection, error) {
	var settings webrtc.SettingEngine
	log := silent()
	settings.LoggerFactory = log
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetICETimeouts(5*time.Second, 15*time.Second, 2*time.Second)
	settings.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM)
	settings.SetSRTPReplayProtectionWindow(1024)
	settings.DisableActiveTCP(true)
	// The service is the DTLS server always. Its answers say so once for the session (RFC 8859: category TRANSPORT), where pion
	// does not look; pion's guess would be server as well.
	if err := settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient); err != nil {
		return nil, err
	}
	if engine != nil {
		engine(&settings)
	}

	media := new(webrtc.MediaEngine)
	if err := registerMedia(media, codecs); err != nil {
		return nil, err
	}
	registry := new(interceptor.Registry)
	for _, configure := range []func() error{
		func() error {
			return webrtc.ConfigureNackWithOptions(media, registry,
				[]nack.GeneratorOption{nack.WithGeneratorLoggerFactory(log)}, nack.WithResponderLoggerFactory(log))
		},
		func() error {
			return webrtc.ConfigureRTCPReportsWithOptions(registry,
				[]report.ReceiverOption{report.WithReceiverLoggerFactory(log)}, report.WithSenderLoggerFactory(log))
		},
		func() error { return webrtc.ConfigureTWCCHeaderExtensionSender(media, registry) },
		func() error {
			return webrtc.ConfigureTWCCSenderWithOptions(media, registry, twcc.WithLoggerFactory(log))
		},
	} {
		if err := configure(); err != nil {
			return nil, err
		}
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	return api.NewPeerConnection(webrtc.Configuration{})
}

// silent drops all messages of pion: they hold addresses.
func silent() logging.LoggerFactory {
	f := logging.NewDefaultLoggerFactory()
	f.Writer = io.Discard
	f.DefaultLogLevel = logging.LogLevelDisabled
	return f
}

func registerMedia(media *webrtc.MediaEngine, codecs []sframe.Codec) error {
	opus := webrtc.RTPCodecParameters{
		PayloadType: payloadOpus,
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: clockAudio, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
	}
	if err := media.RegisterCodec(opus, webrtc.RTPCodecTypeAudio); err != nil {
		return err
	}
	if err := registerVideo(media, codecs); err != nil {
		return err
	}
	extension := func(uri string, kind webrtc.RTPCodecType) error {
		return media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind)
	}
	if err := extension(sdp.SDESMidURI, webrtc.RTPCodecTypeAudio); err != nil {
		return err
	}
	uris := []string{sdp.SDESMidURI, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI}
	if slices.Contains(codecs, sframe.AV1) {
		uris = append(uris, uriDescriptor)
	}
	for _, uri := range uris {
		if err := extension(uri, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	return nil
}
