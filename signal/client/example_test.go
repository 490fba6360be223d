package client_test

import (
	"context"
	"fmt"

	"sotto/e2ee/link"
	"sotto/signal/client"
	"sotto/signal/protocol"
)

// A participant that enters a room by its link, publishes the clips and looks at everybody's camera.
func Example() {
	ctx := context.Background()
	l, err := link.Parse("https://meet.example/r/…#…")
	if err != nil {
		fmt.Println("not a link")
		return
	}
	p, err := client.Join(ctx, client.Config{
		URL: "wss://" + l.Host + "/ws", Keys: l.Keys, Audio: true, Video: true, AudioSlots: 9, VideoSlots: 9,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	var wishes []protocol.Wish
	for _, q := range p.Peers() {
		wishes = append(wishes, protocol.Wish{ConnID: q.ConnID, Source: protocol.SourceCamera, Height: 360})
	}
	if err := p.Want(ctx, wishes); err != nil {
		fmt.Println(err)
	}
	<-p.Done() // somebody ends it
	for _, t := range p.Stats().Tracks {
		fmt.Println(t.Source, t.Decoded, t.Freezes)
	}
	// Output: not a link
}
