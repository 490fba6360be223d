package client

import (
	"crypto/rand"
	"fmt"
	"time"

	"sotto/e2ee/link"
	"sotto/e2ee/room"
	"sotto/e2ee/sframe"
)

// keys is the room's key state with the senders of the own sources. protect may be called by any goroutine; everything else
// under Participant.mu.
type keys struct {
	room    *room.Room
	out     room.Actions
	conn    link.ConnID
	senders [2]*sframe.Sender // microphone, camera; fixed by welcome
	between *translation      // nil, except for a wrong media key
}

func newKeys(conn link.ConnID, admission, media *link.Keys) (*keys, error) {
	k := &keys{conn: conn}
	cfg := room.Config{Keys: media, Conn: conn}
	if _, err := rand.Read(cfg.Random[:]); err != nil {
		return nil, err
	}
	if media != admission {
		k.between = &translation{real: admission, wrong: media, openers: map[link.ConnID]*link.Opener{}, sealers: map[link.ConnID]*link.Sealer{}}
	}
	var err error
	k.room, err = room.New(cfg)
	return k, err
}

// welcome admits the participant and makes the senders.
func (k *keys) welcome(now time.Time, leaf uint8, peers []room.Peer) error {
	if err := k.room.Welcome(now, leaf, peers, &k.out); err != nil {
		return err
	}
	for c := range k.senders {
		var err error
		if k.senders[c], err = k.room.Sender(sframe.Context(c)); err != nil {
			return err
		}
	}
	return nil
}

// protect appends the protected frame to dst.
func (k *keys) protect(dst []byte, context sframe.Context, codec sframe.Codec, key bool, frame []byte) ([]byte, error) {
	return k.senders[context].Protect(dst, codec, key, frame)
}

// envelope takes a binary message of the service.
func (k *keys) envelope(now time.Time, data []byte) error {
	if k.between != nil {
		var err error
		if data, err = k.between.in(data); err != nil {
			return err
		}
	}
	return k.room.Envelope(now, data, &k.out)
}

// takeSends moves the envelopes that are to be sent to dst.
func (k *keys) takeSends(dst [][]byte) [][]byte {
	for _, e := range k.out.Send {
		if k.between != nil {
			var err error
			if e, err = k.between.pass(e, k.between.wrong, k.between.real); err != nil {
				continue
			}
		}
		dst = append(dst, e)
	}
	k.out.Send = k.out.Send[:0]
	return dst
}

// translation lets a participant follow the room's sealed messages with the right keys, while its key state was made from
// wrong ones: it opens each envelope with one set and seals it again with the other. So the media keys alone are wrong.
type translation struct {
	real, wrong *link.Keys
	openers     map[link.ConnID]*link.Opener
	sealers     map[link.ConnID]*link.Sealer
}

func (t *translation) in(data []byte) ([]byte, error) {
	if len(data) < 8 {
		return nil, ErrProtocol
	}
	e, err := t.pass(data[8:], t.real, t.wrong)
	if err != nil {
		return nil, err
	}
	return append(data[:8:8], e...), nil
}

func (t *translation) pass(envelope []byte, from, to *link.Keys) ([]byte, error) {
	h, _, err := link.ParseEnvelope(envelope)
	if err != nil {
		return nil, err
	}
	if t.openers[h.From] == nil {
		if t.openers[h.From], err = from.Opener(h.From); err != nil {
			return nil, fmt.Errorf("client: opener: %w", err)
		}
		if t.sealers[h.From], err = to.Sealer(h.From); err != nil {
			return nil, fmt.Errorf("client: sealer: %w", err)
		}
	}
	_, message, err := t.openers[h.From].Open(envelope)
	if err != nil {
		return nil, err
	}
	return t.sealers[h.From].Seal(h, message)
}
