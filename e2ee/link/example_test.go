package link_test

import (
	"fmt"
	"strings"

	"sotto/e2ee/link"
)

func Example() {
	room, err := link.New("https://meet.example")
	if err != nil {
		panic(err)
	}
	// Somebody else opens the link and proves to the service that they have it.
	guest, err := link.Parse(room.URL())
	if err != nil {
		panic(err)
	}
	conn, nonce := link.NewConnID(), []byte("of the service's")
	signature := guest.Keys.ConnectSignature(guest.Host, nonce, conn)
	fmt.Println(link.VerifyConnect(guest.Keys.Public(), "meet.example", nonce, conn, signature))
	fmt.Println(strings.Contains(room.String(), room.Secret.Encode()))
	// Output:
	// true
	// false
}
