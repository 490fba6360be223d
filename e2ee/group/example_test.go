package group_test

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"sotto/e2ee/group"
	"sotto/e2ee/link"
)

// A client founds the group of a room in which nobody is yet. The service is a
// line that gives back what was sent, with its number.
func Example() {
	room, err := link.New("https://meet.example")
	if err != nil {
		panic(err)
	}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	token := link.NewHostToken()
	g, err := group.New(group.Config{
		Link: room.Keys, Conn: link.NewConnID(), Identity: public, Name: "Ada", HostTag: token.Tag(),
	})
	if err != nil {
		panic(err)
	}

	now := time.Now()
	var out group.Actions
	if err := g.Welcome(now, nil, nil, &out); err != nil { // nobody there, no group
		panic(err)
	}
	for len(out.Sign)+len(out.Send) > 0 {
		todo := out
		out.Reset()
		for _, s := range todo.Sign {
			if err := g.Signed(now, s.ID, ed25519.Sign(key, s.Message), &out); err != nil {
				panic(err)
			}
		}
		for _, envelope := range todo.Send {
			if err := g.Envelope(now, append(make([]byte, 8), envelope...), &out); err != nil {
				panic(err)
			}
		}
	}
	fmt.Println(g.State() == group.StateMember, g.Members()[0].Name, g.IsHost(), len(out.Keys), "key")
	// Output: true Ada true 1 key
}
