// Package group is the membership of an encrypted room, seen from one client:
// who is in the room's MLS group, who may enter, and which keys are in use. It
// runs in native clients and, as WebAssembly, in a browser's worker.
//
// It is pure: signaling events, answers of the identity key, the person's wishes
// and the time go in, and what there is to do comes out as [Actions]. There is
// no clock, no goroutine and no lock; randomness comes from packages mls and
// link.
//
//	signaling --Welcome, PeerJoined, Envelope, ...--> Group --Actions.Send--> signaling
//	identity key --Signed-------------------------->        --Actions.Sign--> identity key
//	person --Admit, Kick, Send, ...---------------->        --Members, Messages, Knocks-->
//	clock --Tick----------------------------------->        --Keys, SendEpoch--> media
//
// # How a group moves
//
// Whoever finds a room without a group founds one; everybody else posts a key
// package and is added by a member's commit. The service puts commits in one
// order: it accepts one for each slot, and everybody sees all that were accepted.
// Which member commits is decided by rank, a hash that differs from item to item,
// with a step of time between ranks; should two commit at once, one gets the slot
// and the other starts over.
//
// A commit that was accepted by the service need not be acceptable: every member
// decides, by the same rules over the same state, and those who find it wrong
// skip it, name its author, and stay. The rules are a pure function of the
// group before the commit and of who is in the room at that point of the order
// (acceptable), so that honest members agree.
//
//   - Add: with the pre-shared key of the current link, exactly once; of somebody
//     who is in the room, and of a newer key package than the one by which that
//     connection is in the tree. In a locked room only the host adds others than
//     those who come back with their own key.
//   - Remove: by the host; or of a connection that is not in the room; or to add
//     the same key anew.
//   - Policy and link generation: by the host. The host is the holder of the key
//     that founded the group.
//
// # Falling out and coming back
//
// A client that has missed a commit, or whose position is not the service's after
// a restart, asks to be added again with the same key, which needs nobody's
// approval. Until that is certain it goes on in its epoch. If all members have to
// ask, the service forgets the group and a new one is founded.
//
// A commit that seems to be of a later epoch may be the lie of one member, who
// must not be able to make all others ask. So they first listen for each other:
// the first in rank calls with an empty commit, which those who are in one epoch
// can follow.
//
// A service that withholds commits can keep a member in an old epoch only until
// half of the others have been silent in it for three heartbeats; then the member
// stops sending.
//
// # What a client does with it
//
// Keys are installed when a commit is processed and used for sending 60 ms
// later. Old epochs are forgotten after 10 s, or 2 s when somebody was removed.
// Media is not sent after Stop until the next SendEpoch. What a removed leaf sent
// is dropped from then on (Dropped).
package group
