package mls

import "bytes"

// Sealed is an application message that is ready to send.
type Sealed struct {
	Message []byte // MLSMessage
}

// Seal encrypts application data for the group as a PrivateMessage
// (RFC 9420 15). aad travels with it in the clear, authenticated; padding zero
// bytes are added to hide the length. It takes one signature, and uses up a
// key of the own ratchet when that is there.
func (g *Group) Seal(data, aad []byte, padding int) (*Signing[Sealed], error) {
	if err := g.live(); err != nil { // nothing new in an old epoch (RFC 9420 15.2); what has begun may end
		return nil, err
	}
	if padding < 0 || len(data) > maxEncoding/2 || len(aad) > maxEncoding/4 || padding > maxEncoding/8 {
		return nil, refuse(ErrLimit, "message of %d bytes", uint64(len(data)))
	}
	a := &authenticatedContent{
		wireFormat: wirePrivate,
		content: framedContent{
			groupID:     g.context.GroupID,
			epoch:       g.context.Epoch,
			sender:      sender{kind: senderMember, index: uint32(g.own)},
			aad:         bytes.Clone(aad),
			contentType: contentApplication,
			application: bytes.Clone(data),
		},
	}
	result := new(Sealed)
	signed := func(signature []byte) (_ []byte, _ step, err error) {
		a.signature = bytes.Clone(signature)
		result.Message, err = g.protect(a, padding)
		return nil, nil, err
	}
	input := signContent(labelContent, a.toBeSigned(g.encoded))
	return newSigning(g.context.Suite, g.Leaf(g.own).SignatureKey, input, signed, result), nil
}
