package main

import (
	"encoding/binary"
	"math"
	"time"

	"sotto/e2ee/group"
)

// writer puts a result together. Lists begin with their length.
type writer struct{ b []byte }

func (w *writer) u8(v uint8)   { w.b = append(w.b, v) }
func (w *writer) u16(v uint16) { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *writer) u32(v uint32) { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) raw(v []byte) { w.b = append(w.b, v...) }

func (w *writer) flag(v bool) {
	if v {
		w.u8(1)
	} else {
		w.u8(0)
	}
}

// data is preceded by its length, u32.
func (w *writer) data(v []byte) {
	w.u32(uint32(len(v)))
	w.raw(v)
}

// name is preceded by its length, u8: names have at most 64 bytes.
func (w *writer) name(v string) {
	v = v[:min(len(v), 255)]
	w.u8(uint8(len(v)))
	w.b = append(w.b, v...)
}

// time is milliseconds since 1970, a float64.
func (w *writer) time(t time.Time) {
	w.u64(math.Float64bits(float64(t.UnixMicro()) / 1000))
}

// each writes a list and its length, u16: none here has more than a few hundred.
func each[T any](w *writer, list []T, write func(T)) {
	w.u16(uint16(len(list)))
	for _, v := range list {
		write(v)
	}
}

// actions writes what a client has to do, and its state where that changed.
func (w *writer) actions(a *group.Actions, g *group.Group) {
	each(w, a.Send, w.data)
	each(w, a.Sign, func(s group.Sign) {
		w.u32(s.ID)
		w.data(s.Message)
	})
	w.flag(a.Stop)
	each(w, a.Keys, func(k group.Keys) {
		w.u64(k.Epoch)
		w.raw(k.Base[:])
		w.u8(k.Leaf)
		each(w, k.Members, func(l group.Leaf) {
			w.u8(l.Leaf)
			w.raw(l.Conn[:])
		})
	})
	each(w, a.SendEpoch, w.u64)
	each(w, a.Dropped, func(d group.LeafEpoch) {
		w.u8(d.Leaf)
		w.u64(d.Epoch)
	})
	each(w, a.Forget, w.u64)
	each(w, a.Messages, func(m group.Message) {
		w.raw(m.Conn[:])
		w.u8(m.Leaf)
		w.u64(m.Epoch)
		w.u8(m.Kind)
		w.data(m.Body)
	})
	w.flag(a.Changed)
	if a.Changed {
		w.state(g)
	}
	w.flag(a.KnocksChanged)
	if a.KnocksChanged {
		each(w, a.Knocks, func(k group.Knock) {
			w.raw(k.Conn[:])
			w.raw(k.Key[:])
			w.name(k.Name)
		})
	}
	each(w, a.Notices, func(n group.Notice) {
		w.name(n.Code.String())
		w.raw(n.Conn[:])
		w.name(n.Name)
	})
	w.flag(a.Link != nil)
	if a.Link != nil {
		w.u16(a.Link.Gen)
		w.raw(a.Link.Secret[:])
	}
}

// stateName is what the page calls a state.
func stateName(s group.State) string {
	switch s {
	case group.StateConnecting:
		return "connecting"
	case group.StateWaiting:
		return "waiting"
	case group.StateMember:
		return "member"
	case group.StateRemoved:
		return "removed"
	}
	return "out_of_sync"
}

// state writes who is in the group and under which policy.
func (w *writer) state(g *group.Group) {
	w.name(stateName(g.State()))
	w.u64(g.Epoch())
	w.flag(g.IsHost())
	policy := g.Policy()
	w.flag(policy.Locked)
	w.flag(policy.Knock)
	each(w, g.Members(), func(p group.Person) {
		w.raw(p.Conn[:])
		w.u8(p.Leaf)
		w.flag(p.Host)
		w.raw(p.Key[:])
		w.name(p.Name)
	})
}
