// Package mls is Messaging Layer Security, RFC 9420: a group of members agrees
// on secrets that change with its membership, through a server that needs no
// trust.
//
// A client makes an [Invitation], whose key package a member adds with
// [Group.Commit]; the [Committed.Welcome] lets the client [Join]. Members
// follow with [Group.Process]. Every commit begins a new epoch, with a new
// exporter secret ([Group.Export]) that removed members cannot derive.
//
//	inv, _ := mls.NewInvitation(me)               // joiner
//	kp, _ := mls.ParseKeyPackage(bytes, suite)    // member
//	c, _ := group.Commit(mls.CommitOptions{Proposals: []mls.Proposal{&mls.Add{KeyPackage: kp}}})
//	out, _ := c.Sign(key)                         // out.Message to members, out.Welcome to the joiner
//	joined, _ := mls.Join(config, invitation, out.Welcome, nil)
//	received, _ := other.Process(out.Message)     // received.Group is the next epoch
//
// A [Group] is a value: making or processing a commit gives a new Group and
// leaves the old one whole, so that a commit that loses a race, is invalid or
// displeases the application has no effect. What a commit does is laid out in
// [Received.Commit] before anybody goes on with it; a [Validator] judges
// credentials.
//
// Signatures come through [Signing], since a browser's keys sign
// asynchronously and cannot be read.
//
// # What is not here
//
// External commits, proposals of non-members, ReInit and branching are refused:
// members join by a member's hand only. Proposals that others send ahead are
// followed; this package itself sends proposals inside of commits only. There is
// no clock: lifetimes are for the Validator. There is no storage.
//
// # Deletion
//
// Secrets are overwritten as soon as they are used up (RFC 9420 9.2). The
// application says when an epoch is over ([Group.Retire], [Group.Erase]), drops
// a commit that lost a race with Erase on its Group, and erases an
// [Invitation] that was answered. What the standard library copies inside of
// its ciphers stays until the garbage collector reuses it.
//
// # Bounds
//
// A tree has at most [MaxLeaves] leaves, an encoding at most 4 MiB. Nothing is
// allocated on the word of a length prefix.
//
// # WebAssembly
//
// The package compiles for browsers, and its tests, with all official vectors
// embedded, run there too:
//
//	go tool task wasm
package mls
