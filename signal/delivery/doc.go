// Package delivery is the delivery service of MLS groups (RFC 9420 calls it so):
// of the commits that are made at once it accepts one, and everybody sees the
// same ones in the same order. It reads the clear header of envelopes alone; it
// holds no key of a group and parses no MLS.
//
// A [Group] is what a room knows of its group: where it stands, which
// connections are member connections and may commit, what each may still send.
// Its [Log] numbers the envelopes and decides by compare-and-set: a commit names
// the slot that it wants, the number of commits accepted before it. [Memory] is
// the log of one service.
//
// A service that was restarted has forgotten all that, unless its log has not.
// Each member connection holds a ticket for that case, see [Group.Ticket]: the
// best of them says where the group stands, see [Group.Settle].
//
// Nothing here blocks, and time is a parameter.
package delivery
