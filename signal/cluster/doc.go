// Package cluster carries control between signaling and media nodes over NATS, in one process or across machines.
//
//	signal.Server -> Remote --request/reply--> Serve -> sfu.Node
//	                   ^                         |
//	                   +---- events, beats ------+
//
// [Serve] runs beside a media node: it answers requests on the node's subjects and publishes what happens on the node as a
// numbered stream. [Remote] runs beside signaling: it knows the live nodes by their beats, keeps each room on one of them,
// follows their streams and takes a snapshot where numbers are missing. [StartEngine] is the NATS server in this process;
// [Connect] reaches one in another.
//
// Media does not depend on any of this. A node keeps its sessions while signaling is away; signaling that starts gets them in
// the snapshot that begins Events, and ends those that nobody comes back to. A node whose beats stop for Timing.Lost is taken as
// lost: its sessions are reported closed and its rooms are placed anew.
//
// A node that drains ([Drain]) says so in its stream. It gets no new room while another node is there, and its rooms move, some
// in each beat: their sessions are reported closed with [sfu.ReasonDrained], the participants join again and are placed elsewhere.
//
// Subjects, NODE being the node's id and SIGNAL the id of one running Remote:
//
//	sotto.v1.node.NODE.{join,update,kick,leave}  requests
//	sotto.v1.node.NODE.drain                     asks a node to be emptied
//	sotto.v1.node.NODE.snapshot                  asks for a snapshot in the stream of SIGNAL
//	sotto.v1.events.NODE                         the node's stream: events and beats
//	sotto.v1.events.NODE.SIGNAL                  parts of a snapshot, between the events where it belongs
//	sotto.v1.signal                              signaling that starts
//
// Locks: registry.mu (the sessions and the number of the stream, at the node), Remote.mu (nodes, sessions and rooms, at
// signaling), reader.mu (events that wait for one reader). None is held during a call to the media node or a request.
package cluster
