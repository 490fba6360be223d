package room_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"sotto/sfu/packet"
	"sotto/sfu/room"
)

// Two peers: one sends a microphone, the other hears it without asking.
func Example() {
	now := time.Unix(1_700_000_000, 0)
	opus := []room.PayloadType{{PT: 111, Codec: packet.Opus, ClockRate: 48000}}
	r := room.New(room.Config{Rand: rand.NewPCG(1, 2)})
	var out room.Batch
	for _, c := range []room.Command{
		room.Join{Peer: 1},
		room.Publish{Peer: 1, Tracks: []room.PublishedTrack{{Source: room.SourceMic, MID: "0", Codecs: opus, SSRCs: []uint32{1000}}}},
		room.Join{Peer: 2},
		room.Slots{Peer: 2, Slots: []room.Slot{{MID: "a", Kind: room.Audio, SSRC: 2000, Codecs: opus}}},
	} {
		if err := r.Apply(now, c, &out); err != nil {
			fmt.Println(err)
		}
	}
	for _, e := range out.Events {
		fmt.Printf("%T %+v\n", e, e)
	}
	out.Reset()

	raw := []byte{0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0xE8, 'o', 'p', 'u', 's'}
	var p packet.Packet
	if err := packet.Parse(raw, &packet.Extensions{}, now, &p); err != nil {
		fmt.Println(err)
	}
	r.HandleRTP(now, 1, &p, &out)
	for _, s := range out.Sends {
		fmt.Printf("%v to %d, SSRC %d: %s\n", s.Kind, s.To, s.SSRC, s.Packet.Payload())
	}
	// Output:
	// room.SlotsChanged {Peer:2 Slots:[{MID:a Active:true Publisher:1 Source:mic Paused:none}] Waiting:0}
	// audio to 2, SSRC 2000: opus
}
