package sfu_test

import (
	"context"
	"errors"
	"fmt"
	"net"

	"sotto/sfu"
)

// A node on one loopback socket; signaling then calls Join with a client's offer and hands the answer back.
func Example() {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	node, err := sfu.New(sfu.Config{Shards: []sfu.ShardConfig{{Conn: conn}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = node.Close() }()

	_, err = node.Join(context.Background(), sfu.JoinRequest{Room: "room", Peer: "peer", Offer: "not an offer"})
	fmt.Println(errors.Is(err, sfu.ErrBadOffer), node.Stats().Joins["bad_offer"])
	// Output: true 1
}
