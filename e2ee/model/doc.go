// Package model checks the order in which members and the delivery service do
// things: it walks through the states that four clients and one service can
// reach with joins, leaves, crashes, commits, lost and repeated deliveries,
// restarts of the service, and a service that shows different members
// different commits. Cryptography is perfect here: an epoch is known to whoever
// the rules of MLS let derive it, from everything that was ever sent.
//
// What must hold in every state:
//
//   - One service that behaves: no two members are in one epoch with different
//     secrets.
//   - Who knows the secret of an epoch is a member in it: neither who was
//     removed, nor who joined later, nor who has no link.
//   - No member uses a key twice with one counter.
//   - No member throws another out.
//   - When faults stop, everybody who wants to be in is in one epoch with
//     everybody else, and nobody who left is.
//
// Each is the work of a rule of the protocol ([Rules]). The test takes the rules
// away one by one and sees the check fail: a model that cannot fail proves
// nothing.
//
// The search is in breadth, with states remembered by a hash; random walks go
// where it does not reach. A longer run:
//
//	go test ./e2ee/model -run Protocol -states 1500000 -walks 30000 -v
//
// What the model leaves out: time (timers fire whenever they may), the tree
// (members are a set, and whoever is in it is told new path secrets), policy
// (every joiner is let in, only who is gone is removed), and several commits by
// one member at once.
package model
