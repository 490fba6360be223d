package signal_test

import (
	"context"
	"net/http"
	"time"

	"sotto/sfu"
	"sotto/signal"
)

func Example() {
	var node *sfu.Node // of sfu.New
	rooms, err := signal.New(signal.Config{
		Media:          node,
		OpenRooms:      true, // who holds the link may join
		AllowedOrigins: []string{"https://intranet.example"},
	})
	if err != nil {
		return
	}
	http.Handle("/ws", rooms)
	// ... serve ...
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = rooms.Close(ctx)
}
