package room

import (
	"sotto/e2ee/link"
	"sotto/e2ee/sframe"
)

// epoch is what frames of one epoch of the group need: its base key, and whose
// leaf is whose.
type epoch struct {
	number    uint64
	base      [sframe.BaseKeySize]byte
	own       uint8
	members   [256]link.ConnID // by leaf; zero: nobody
	removed   [256]bool        // gone: nothing of them is shown any more
	receivers map[sframe.KID]*receiver
	senders   [sframe.Data + 1]*sframe.Sender
}

// receiver opens the frames of one KID.
type receiver struct {
	*sframe.Receiver
	ledger *ledger // nil: the sender does not sign, or none of its frames came
}

// maxEpochs bounds the table: KIDs tell epochs apart by their lowest byte, and
// the group forgets old ones within seconds.
const maxEpochs = 64

// install takes over the keys of an epoch. One whose KIDs could be confused with
// it goes.
func (r *Room) install(e *epoch) {
	kept := r.epochs[:0]
	for _, old := range r.epochs {
		if uint8(old.number) == uint8(e.number) {
			old.erase()
			continue
		}
		kept = append(kept, old)
	}
	r.epochs = append(kept, e)
	if len(r.epochs) > maxEpochs {
		r.epochs[0].erase()
		r.epochs = append(r.epochs[:0], r.epochs[1:]...)
	}
}

func (r *Room) epoch(number uint64) *epoch {
	for _, e := range r.epochs {
		if e.number == number {
			return e
		}
	}
	return nil
}

// epochOf finds the epoch that a KID means.
func (r *Room) epochOf(low uint8) *epoch {
	for _, e := range r.epochs {
		if uint8(e.number) == low {
			return e
		}
	}
	return nil
}

// forget erases an epoch.
func (r *Room) forget(number uint64) {
	kept := r.epochs[:0]
	for _, e := range r.epochs {
		if e.number == number {
			e.erase()
			continue
		}
		kept = append(kept, e)
	}
	clear(r.epochs[len(kept):])
	r.epochs = kept
}

func (e *epoch) erase() {
	clear(e.base[:])
	clear(e.receivers)
	clear(e.senders[:])
}

// receiver returns the receiver of a KID of this epoch.
func (e *epoch) receiver(kid sframe.KID) (*receiver, error) {
	if v := e.receivers[kid]; v != nil {
		return v, nil
	}
	key, err := sframe.DeriveKey(e.base[:], kid)
	if err != nil {
		return nil, err
	}
	v := &receiver{Receiver: sframe.NewReceiver(key)}
	e.receivers[kid] = v
	return v, nil
}

// sender returns the one sender there is for an own source in this epoch, so
// that no counter repeats.
func (e *epoch) sender(c sframe.Context) (*sframe.Sender, error) {
	if s := e.senders[c]; s != nil {
		return s, nil
	}
	key, err := sframe.DeriveKey(e.base[:], sframe.MakeKID(c, e.own, uint8(e.number)))
	if err != nil {
		return nil, err
	}
	e.senders[c] = sframe.NewSender(key)
	return e.senders[c], nil
}

// has reports whether a connection is a member in this epoch.
func (e *epoch) has(conn link.ConnID) bool {
	for _, c := range e.members {
		if c == conn {
			return true
		}
	}
	return false
}
