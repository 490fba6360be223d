package room

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"sotto/e2ee/sframe"
)

// MessageHeartbeat is the type of the application message that bounds how old a
// frame may be that is shown as live.
const MessageHeartbeat = 2

// heartbeatMin is the shortest interval; large rooms beat slower so that a
// room's heartbeats stay below ten a second.
const heartbeatMin = 5 * time.Second

var errMessage = errors.New("room: unacceptable message")

// heartbeat tells the next CTR of each context in use, of the KIDs of an epoch.
// The message itself may be sealed in a later one.
type heartbeat struct {
	Epoch uint64            `json:"epoch"`
	CTR   map[string]uint64 `json:"ctr"`
}

// maxEpochNumber is the largest integer that JSON carries exactly everywhere.
const maxEpochNumber = 1<<53 - 1

// decodeHeartbeat calls each for every context it knows.
func decodeHeartbeat(body []byte, each func(epoch uint64, c sframe.Context, next uint64)) error {
	var h heartbeat
	if err := json.Unmarshal(body, &h); err != nil || len(h.CTR) > 16 || h.Epoch > maxEpochNumber {
		return errMessage
	}
	for c := sframe.Microphone; c <= sframe.Data; c++ {
		next, ok := h.CTR[strconv.Itoa(int(c))]
		if !ok {
			continue
		}
		if next > sframe.MaxCTR {
			return errMessage
		}
		each(h.Epoch, c, next)
	}
	return nil
}

// heard takes the heartbeat of a leaf.
func (r *Room) heard(leaf uint8, body []byte) error {
	return decodeHeartbeat(body, func(number uint64, c sframe.Context, next uint64) {
		e := r.epoch(number)
		if e == nil || e.removed[leaf] {
			return // long over, or not there yet: the next beat bounds it
		}
		if v, err := e.receiver(sframe.MakeKID(c, leaf, uint8(number))); err == nil {
			v.Heartbeat(next)
		}
	})
}

func (r *Room) heartbeatEvery() time.Duration {
	return max(heartbeatMin, time.Duration(r.size())*time.Second/10)
}

// beat returns what to tell, nil without media: who sends none has nothing to
// bound, and an audience of hundreds stays silent.
func (r *Room) beat() []byte {
	h := heartbeat{Epoch: r.sending, CTR: make(map[string]uint64)}
	for c := range r.senders {
		if s := r.senders[c].current.Load(); s != nil && s.Next() > 0 {
			h.CTR[strconv.Itoa(c)] = s.Next()
		}
	}
	if len(h.CTR) == 0 {
		return nil
	}
	body, err := json.Marshal(h)
	if err != nil {
		return nil // integers always encode
	}
	return body
}
