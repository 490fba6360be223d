package sframe_test

import (
	"fmt"
	"time"

	"sotto/e2ee/sframe"
)

func Example() {
	base := []byte("sixteen bytes ok") // from the group
	key, err := sframe.DeriveKey(base, sframe.MakeKID(sframe.Camera, 3, 0))
	if err != nil {
		panic(err)
	}
	sender, receiver := sframe.NewSender(key), sframe.NewReceiver(key)

	sealed, err := sender.Protect(nil, sframe.VP8, true, []byte("\x10an encoded picture"))
	if err != nil {
		panic(err)
	}
	frame, err := sframe.Parse(sframe.VP8, sealed)
	if err != nil {
		panic(err)
	}
	var order sframe.Order // of the m-line it came on
	now, timestamp := time.Unix(0, 0), uint32(90_000)
	opened, err := receiver.Open(nil, now, &order, timestamp, frame)
	fmt.Printf("%q %v\n", opened, err)
	_, err = receiver.Open(nil, now, &order, timestamp, frame)
	fmt.Println(err)
	// Output:
	// "\x10an encoded picture" <nil>
	// sframe: frame dropped: e2ee_replay
}
